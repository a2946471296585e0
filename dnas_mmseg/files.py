"""Writing of files that appear under their names only when they are whole; folder locks."""

from __future__ import annotations

import csv
import io
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UserError


class FolderInUseError(UserError):
    """A folder that another run has locked."""


_HERE = re.sub(r'[^A-Za-z0-9]', '', socket.gethostname()) or 'host'
_TEMPORARY = re.compile(r'\.([A-Za-z0-9]+)-(\d+)\.[a-z0-9_]{8}(\.|$)')
"""Part of the names of temporary files, with the machine and the process that writes them."""

_WORKERS_END = 8.0
"""Time in which torch's loader workers notice that their process was killed, in seconds."""


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that becomes ``path`` when the block ends well.

    The folder is made. If the block raises (disk full, ^C), the temporary file is removed and
    whatever stood under ``path`` before stays as it was.

    Args:
        path: Final path.

    Yields:
        Path in the same folder, with the same suffix, to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f'.{path.stem}.{_HERE}-{os.getpid()}.'
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files private; what is published follows the user's umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        if type(error) is OSError and error.errno and error.filename is None:
            # A full disk, as Python reports it, does not say where.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove the temporary files that killed processes of this machine have left in a folder."""
    for path in Path(folder).glob('.*'):
        found = _TEMPORARY.search(path.name)
        if found and found[1] == _HERE and not _is_running(int(found[2])) and path.is_file():
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == 'nt':  # where this call would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_csv(path: str | os.PathLike, rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, atomically.

    Text that a spreadsheet would run as a formula (names of files and classes may be anybody's)
    gets an apostrophe before it, as spreadsheets write text; numbers stay.
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
    """Keep other processes that ask for ``folder`` (made if need be) out while the block runs.

    The lock ends with the process, in whatever way that ends. Loaders' workers share it and notice
    within seconds that the process is gone, so a locked folder is waited for that long.

    Raises:
        FolderInUseError: Another process has locked the folder.
    """
    path, owner = Path(folder) / '.lock', Path(folder) / '.lock_owner'
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=_WORKERS_END)
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


def _sync(path: Path) -> None:
    """Wait until the bytes are on the disk: a rename must not overtake them in a power cut."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs no file that is open for reading
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
