"""Names of bands."""

from __future__ import annotations

from collections.abc import Iterable

from dnas_mmseg.errors import UserError

RGB = ('red', 'green', 'blue')


def band_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Band names as they are compared everywhere: a tuple, in lower case.

    Raises:
        UserError: A single string was given, or a name occurs twice.
    """
    if isinstance(names, str):
        raise UserError(f"bands = '{names}': give a list of names, ('{names}',) for a single one")
    result = tuple(str(name).strip().lower() for name in names or ())
    if len(set(result)) != len(result):
        raise UserError(f'bands = {result}: a name occurs twice')
    return result
