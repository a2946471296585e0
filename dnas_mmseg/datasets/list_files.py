"""Reading of list files."""

from __future__ import annotations

import os
from pathlib import Path

from dnas_mmseg.datasets.description import DatasetError


def read_lines(path: str | os.PathLike) -> list[str]:
    """Return the lines of a UTF-8 list file, with or without a byte-order mark.

    Raises:
        DatasetError: The file is missing or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError:
        raise DatasetError(f'{path}: no such list file') from None
    except UnicodeDecodeError as error:
        raise DatasetError(f'{path} is not UTF-8 ({error})') from None
