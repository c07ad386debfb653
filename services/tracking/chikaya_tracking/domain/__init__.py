"""The rules of a case: plain Python, no IO."""
