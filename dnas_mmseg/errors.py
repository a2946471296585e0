"""Errors that a user can mend."""


class UserError(ValueError):
    """Something is wrong with files or settings; the message says what, where and what to do.

    Programs show the message without a traceback.
    """
