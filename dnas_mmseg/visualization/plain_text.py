"""Text of users in pictures."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """Return text for matplotlib as it is written; what stands between two $ would be a formula."""
    return text.replace('$', r'\$')
