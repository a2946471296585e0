"""Rows of results in CSV files, and training runs in processes of the lowest priority."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Rows:
    """A CSV file of results, to which several processes append.

    Attributes:
        path: Path of the file.
        columns: Names of the columns.
    """

    path: Path
    columns: tuple[str, ...]

    def read(self) -> list[dict[str, str]]:
        """Return the rows; none if the file does not exist."""
        if not self.path.is_file():
            return []
        with self.path.open() as file:
            return list(csv.DictReader(file))

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        with FileLock(f'{self.path}.lock'), self.path.open('a', newline='') as file:
            writer = csv.DictWriter(file, self.columns, lineterminator='\n')
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


def folder_name(*values: object) -> str:
    """Return a folder name of the values that identify a run."""
    return ''.join(c if c.isalnum() else '_' for c in ' '.join(map(str, values)))


def run_in_processes(
    module: str, runs: Mapping[str, Sequence[object]], work_dir: Path, workers: int
) -> None:
    """Run ``python -m module --work-dir FOLDER --one ...`` for each run, on one thread each.

    Args:
        module: Name of the module.
        runs: Further arguments by folder name.
        work_dir: Parent of the folders and logs.
        workers: Number of parallel processes.
    """
    work_dir.mkdir(parents=True, exist_ok=True)

    def run(item: tuple[str, Sequence[object]]) -> None:
        name, arguments = item
        command = [sys.executable, '-W', 'ignore', '-m', module, '--work-dir', work_dir / name]
        with (work_dir / f'{name}.log').open('w') as log:
            done = subprocess.run(
                [str(word) for word in (*command, *arguments)], cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, 'OMP_NUM_THREADS': '1'}, preexec_fn=lambda: os.nice(19),
            )  # fmt: skip
        print(name, 'finished' if done.returncode == 0 else 'FAILED', flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, runs.items()))
