"""The 3737 console: an agent files for a caller, finds a case, reads its state aloud."""
