"""What a dossier is and what may be decided about it: plain Python, no IO."""
