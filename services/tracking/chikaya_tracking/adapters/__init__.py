"""Where the case is kept."""
