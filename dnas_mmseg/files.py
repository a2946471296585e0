"""Atomic writing of files, folder locks, and folders of configs."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import UserError


class FolderInUseError(UserError):
    """Another run has locked the folder."""


_HOST = re.sub(r'[^A-Za-z0-9]', '', socket.gethostname()) or 'host'
_TEMPORARY = re.compile(r'\.([A-Za-z0-9]+)-(\d+)\.[a-z0-9_]{8}(\.|$)')
"""Part of a temporary file's name: host and process id of its writer."""

_LOCK_TIMEOUT = 8.0
"""Seconds to wait for a lock: workers of a killed torch loader hold it until their 5 s check."""


_umask_lock = threading.Lock()


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path that is renamed to ``path`` when the block succeeds.

    If the block raises, the temporary file is removed and an existing ``path`` is left unchanged.

    Args:
        path: Final path; its folder is created.

    Yields:
        Temporary path in the same folder, with the same suffix.

    Example:
        >>> with atomic_path('result.txt') as temporary:
        ...     _ = temporary.write_text('complete')
        >>> Path('result.txt').read_text()
        'complete'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f'.{path.stem}.{_HOST}-{os.getpid()}.'
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync_file(temporary)
        # mkstemp creates private files; the final file follows the umask.
        with _umask_lock:  # reading it sets it for the whole process
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        if type(error) is OSError and error.errno and error.filename is None:
            # Python's error for a full disk lacks the path.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def file_states(paths: Iterable[str | os.PathLike]) -> dict[str, tuple[int, int]]:
    """Return size in bytes and modification time in ns of files, to detect changes."""
    stats = {os.fspath(path): os.stat(path) for path in paths}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove temporary files left in a folder by killed processes of this host."""
    for path in Path(folder).glob('.*'):
        found = _TEMPORARY.search(path.name)
        if found and found[1] == _HOST and not _is_running(int(found[2])) and path.is_file():
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == 'nt':  # os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_json(path: str | os.PathLike, document: Any, indent: int | None = 1) -> None:
    """Write a JSON file atomically; NaN, which JSON lacks, becomes null, arrays become lists.

    Args:
        path: Path of the file.
        document: Mappings, sequences, and arrays and scalars of numpy and torch.
        indent: Number of spaces per level; None for one line.
    """
    text = json.dumps(_to_json(document), indent=indent, allow_nan=False)
    write_text(path, f'{text}\n')


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if hasattr(value, 'tolist'):  # arrays and scalars of numpy and torch
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int]
) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        headings: Headings of the columns.
        rows: Cells by row; vertical bars in them do not divide cells.
        numbers: Indices of the columns that are aligned to the right.

    Example:
        >>> format_markdown_table(['class', '%'], [['soil|sand', 3.5]], numbers=[1])
        ['| class | % |', '|---|---:|', '| soil\\\\|sand | 3.5 |']
    """
    right = set(numbers)
    rule = ''.join('|---:' if i in right else '|---' for i in range(len(headings)))
    lines = [
        ' | '.join(' '.join(str(cell).replace('|', r'\|').splitlines()) for cell in row)
        for row in (headings, *rows)
    ]
    first, *rest = (f'| {line} |' for line in lines)
    return [first, f'{rule}|', *rest]


def write_csv(path: str | os.PathLike, rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table atomically.

    Text that a spreadsheet would evaluate as a formula is prefixed with an apostrophe, since file
    and class names come from others; numbers are unchanged.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([[_as_text(c) for c in row] for row in rows])
    write_text(path, text.getvalue())


def _as_text(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(('=', '+', '-', '@', '\t', '\r', '\n')):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


@contextmanager
def lock_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Lock a folder against other processes while the block runs; the folder is created.

    The lock is released when the process ends, however it ends. Loader workers inherit it and exit
    some seconds after a killed process, so acquiring the lock waits that long.

    Raises:
        FolderInUseError: Another process holds the lock.
    """
    path, owner = Path(folder) / '.lock', Path(folder) / '.lock_owner'
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=_LOCK_TIMEOUT)
    try:
        lock.acquire()
    except Timeout:
        process = owner.read_text(encoding='utf-8') if owner.is_file() else 'unknown'
        raise FolderInUseError(
            f'{folder} is in use by another run (process {process}): wait for it, stop it, or '
            'choose another work dir'
        ) from None
    try:
        write_text(owner, str(os.getpid()))
        yield
    finally:
        lock.release()


def check_config_folder(folder: str | os.PathLike) -> None:
    """Check that a config can name files next to it.

    mmengine replaces ``{{ fileDirname }}`` in the text of a config, in a string in single quotes.

    Args:
        folder: Folder of the config.

    Raises:
        UserError: Its absolute path contains an apostrophe, a backslash or a line break.
    """
    path = Path(os.path.abspath(folder)).as_posix()
    if any(character in path for character in "'\\\n"):
        raise UserError(
            f'{path}: configs cannot be written to a folder whose path contains an apostrophe, a '
            'backslash or a line break: choose another one'
        )


def sync_file(path: Path) -> None:
    """Flush a file to disk, so that a power failure cannot leave a renamed file without content."""
    descriptor = os.open(path, os.O_RDWR)  # Windows cannot sync a file opened for reading
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
