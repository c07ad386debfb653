"""What can stand in the way of starting, said for the person who typed the command."""


class CannotStart(Exception):
    """Starting is impossible as things are. The message names the cause, and the setting or command that helps."""
