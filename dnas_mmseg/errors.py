"""Errors that a user can correct."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Invalid files or settings; the message names the cause, the location and the remedy.

    Command-line programs print the message without a traceback.
    """


def did_you_mean(word: str, known: Iterable[str], count: int = 1) -> str:
    """Return `` (did you mean X?)`` for a misspelt word, or an empty string.

    Args:
        word: Misspelt word.
        known: Valid words.
        count: Largest number of suggestions.

    Example:
        >>> did_you_mean('modle', ['model', 'data'])
        ' (did you mean model?)'
    """
    near = difflib.get_close_matches(word, sorted(known), n=count)
    return f' (did you mean {" or ".join(near)}?)' if near else ''
