"""Errors that a user can correct, and the checks of settings that occur everywhere."""

import difflib
import re
from collections.abc import Iterable
from urllib.parse import parse_qs


class UserError(ValueError):
    """Invalid files or settings; the message names the cause, the location and the remedy.

    Command-line programs print the message without a traceback.
    """


_URL = re.compile(r'(?:https?://|/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)\w*[/?])[^\s"\'<>]*')


def redact_urls(text: str) -> str:
    """Return a text without the query strings and passwords of its URLs, which may grant access.

    Example:
        >>> redact_urls('/vsicurl/https://me:word@example.com/a.tif?signature=abc: truncated')
        '/vsicurl/https://example.com/a.tif: truncated'
        >>> redact_urls('/vsicurl?max_retry=3&url=https%3A%2F%2Fexample.com%2Fa.tif%3Fsignature')
        '/vsicurl/https://example.com/a.tif'
    """
    return _URL.sub(_redact_url, text)


def _redact_url(match: re.Match) -> str:
    url = match[0].rstrip(':;,.)')  # punctuation of the message
    end = match[0][len(url) :]
    start, _, query = url.partition('?')
    if start.startswith('/vsi') and start.count('/') == 1:
        start = f'{start}/{"".join(parse_qs(query).get("url", [])).partition("?")[0]}'
    return re.sub(r'(https?://)[^/]*@', r'\1', start) + end


def check_seed(seed: object, name: str = 'seed') -> None:
    """Check a random seed.

    Args:
        seed: The seed; None for a random one.
        name: Name of the setting.

    Raises:
        UserError: It is no integer from 0 to 2^32 - 1, the seeds of NumPy.
    """
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise UserError(f'{name} = {seed}: expected an integer from 0 to {2**32 - 1}')


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
