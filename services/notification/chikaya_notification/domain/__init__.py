"""Who is told what, and in which words: plain Python, no IO."""
