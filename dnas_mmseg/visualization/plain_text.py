"""Escaping of text for matplotlib."""

from __future__ import annotations


def plain_text(text: str) -> str:
    """Escape dollar signs, which matplotlib would interpret as mathtext."""
    return text.replace('$', r'\$')
