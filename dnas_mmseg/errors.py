"""Errors that a user can correct."""


class UserError(ValueError):
    """A mistake in files or settings; the message says what, where and what to do.

    Programs show the message without a traceback.
    """
