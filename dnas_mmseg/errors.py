"""Errors that a user can correct."""


class UserError(ValueError):
    """Invalid files or settings; the message names the cause, the location and the remedy.

    Command-line programs print the message without a traceback.
    """
