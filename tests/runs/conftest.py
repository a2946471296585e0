"""Fixtures of the tests of searches."""

from ..search.conftest import plan, tiny

__all__ = ['plan', 'tiny']
