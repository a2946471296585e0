"""Listeners of a search, which write its files, log and report after every epoch."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from dnas_mmseg.files import write_text
from dnas_mmseg.work_dir import ARCHITECTURE_FILE, SEARCH_REPORT

from .plan import SearchPlan

if TYPE_CHECKING:
    from .hook import ArchitectureSearchHook

_REPORT_INTERVAL = 20.0
"""Minimum time between two reports of a running search, in seconds. It is shorter than the reload
interval of the page (30 s), so that each reload shows a new report; a shorter one would slow down
short epochs with figures."""


class SearchListener(Protocol):
    """Interface of listeners, which are called in every process."""

    def after_epoch(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Handle the end of an epoch; its state is the last one of ``search.history``."""

    def after_search(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Handle the end of the search."""


class SearchFiles:
    """Write the decoded architecture, its history and the lists of the halves to the work dir."""

    def after_epoch(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Write ``architecture.json``, ``architectures/epoch_<n>.json`` and ``history.json``."""
        if not is_main_process():
            return
        folder, epoch = Path(runner.work_dir), search.history.epochs[-1]
        epoch.architecture.save(folder / 'architectures' / f'epoch_{epoch.epoch}.json')
        epoch.architecture.save(folder / ARCHITECTURE_FILE)
        search.history.save(folder)
        if epoch.epoch == 1:
            for name, lines in search.halves.items():
                write_text(folder / f'{name}.txt', ''.join(f'{line}\n' for line in lines))

    def after_search(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Do nothing."""


class SearchLog:
    """Log the state and the alarms, and send scalars to the visualizer."""

    def after_epoch(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Log the state of an epoch."""
        history = search.history
        entropies, (open_gates, gates) = history.entropies(), history.gates()
        scalars = {f'search/entropy_{kind}': value for kind, value in entropies.items()}
        line = ', '.join(f'entropy of {kind} {value:.3f}' for kind, value in entropies.items())
        if gates:
            scalars['search/edges_kept'] = open_gates
            line += f', {open_gates} of {gates} gated edges selected'
        for name, share in history.operation_shares().items():
            scalars[f'search/share_{name}'] = share
        epoch = history.epochs[-1]
        if epoch.loss is not None:
            scalars['search/loss_half_b'] = epoch.loss
        line += ''.join(f', {key} {value}' for key, value in epoch.architecture.summary.items())
        scalars |= {f'search/{key}': value for key, value in epoch.architecture.scalars.items()}
        if search.cost is not None and epoch.cost is not None:
            scalars['search/cost'] = epoch.cost
            line += f', {search.cost.describe(epoch.architecture)}'
        since = f'; unchanged for {history.unchanged} epochs' if epoch.searching else ''
        runner.logger.info(f'search, epoch {epoch.epoch}: {line}{since}')
        runner.visualizer.add_scalars(scalars, step=runner.iter)
        for alarm in history.alarms():
            runner.logger.warning(f'search, epoch {epoch.epoch}: {alarm}')

    def after_search(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Do nothing."""


class SearchPage:
    """Write the report, at most every ``_REPORT_INTERVAL``, and after a single stage."""

    def __init__(self) -> None:
        self._written = -math.inf

    def after_epoch(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Update the report of the running search."""
        if time.monotonic() - self._written >= _REPORT_INTERVAL:
            self._written = time.monotonic()
            self._write(self._root(runner), running=True)

    def after_search(self, runner: Runner, search: ArchitectureSearchHook) -> None:
        """Write the report of a single stage; the pipeline writes that of a complete search."""
        root = self._root(runner)
        if root == Path(runner.work_dir):
            self._write(root, running=False)

    def _root(self, runner: Runner) -> Path:
        folder = Path(runner.work_dir)
        return folder.parent if folder.name in SearchPlan.list_levels(folder.parent) else folder

    def _write(self, root: Path, running: bool) -> None:
        if is_main_process():
            from .report import save_search_report  # imports matplotlib

            out_dir = root / Path(SEARCH_REPORT).parent
            save_search_report(root, out_dir, running=running, pictures=False)
