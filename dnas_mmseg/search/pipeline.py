"""Pipeline of a search: all stages, from tiles to an architecture and the config that trains it.

Files of a work dir:

    search.json                  settings; --resume reads them
    network.py                   copy of the user's config, which the other configs inherit
    <level>.py, <level>/         config and run of each stage
    path.json, connection.json   architecture decided by a stage, input of the next one
    architecture.json            architecture decided by the last stage
    retrain.py                   config that trains it; retrain/ and test/ with --retrain
    targets/<target>/            with several targets: architecture and retrain.py of each
"""

from __future__ import annotations

import difflib
import gc
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dnas_mmseg.engine.checkpoints import last_checkpoint
from dnas_mmseg.engine.config_checks import log_to
from dnas_mmseg.engine.config_parts import set_work_dir
from dnas_mmseg.engine.configs import format_inheriting_config
from dnas_mmseg.engine.distributed import join_processes, set_launcher
from dnas_mmseg.engine.running import build_runner, test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import check_config_folder, lock_folder, write_text
from dnas_mmseg.runs.network import describe_replacement, movable_text, network_config
from dnas_mmseg.spaces.architecture import Architecture, ArchitectureError
from dnas_mmseg.spaces.registry import SPACES, load_architecture
from dnas_mmseg.spaces.space import MultiTargetMode
from dnas_mmseg.work_dir import (
    ARCHITECTURE_FILE,
    HISTORY_FILE,
    NETWORK_FILE,
    PLAN_FILE,
    RETRAIN_FILE,
)

from .hook import ArchitectureSearchHook
from .multi_target import decode_each, representative_architecture
from .plan import SearchPlan
from .report import save_search_report
from .stages import multi_target_mode, retrain_config, search_hook, stage_config
from .summary import show_plan, show_result, show_targets
from .target import CostTarget
from .time import ProgressHook, StageTime, stage_time

_WRITTEN_HERE = '# Written by `dnas search`; an ordinary config.'
"""First line of every config that a search writes."""

_DATA_ROOT = re.compile(r"data_root='[^'\n]*'")


def search(
    plan: SearchPlan,
    work_dir: str | os.PathLike,
    *,
    resume: bool = False,
    dry_run: bool = False,
    retrain: bool = False,
    tensorboard: bool = False,
    launcher: str = 'none',
) -> Architecture | None:
    """Run all stages of a search.

    Args:
        plan: Settings of the search.
        work_dir: Folder of all results.
        resume: Whether to resume the search in ``work_dir``.
        dry_run: Whether only to print the stages and their estimated time.
        retrain: Whether to train and test the found networks.
        tensorboard: Whether to write scalars for TensorBoard.
        launcher: Launcher of distributed processes (mmengine's ``--launcher``).

    Returns:
        Architecture of the last stage; None after a dry run.

    Raises:
        UserError: The work dir is in use or contains another search, or the plan is invalid.

    Example:
        >>> plan = SearchPlan('dnas', layers=14, data_root='data/gid5')
        >>> search(plan, 'work_dirs/search').save('found.json')  # doctest: +SKIP
    """
    return _Search(plan, Path(work_dir), tensorboard, launcher).run(resume, dry_run, retrain)


class _Search:
    """Execution of a plan in a work dir."""

    def __init__(self, plan: SearchPlan, work_dir: Path, tensorboard: bool, launcher: str) -> None:
        self.plan, self.work_dir = plan, work_dir
        self.tensorboard, self.launcher = tensorboard, launcher
        self.space = SPACES[plan.space]
        self.seconds: dict[str, float] = {}
        init_default_scope('mmseg')
        join_processes(launcher)

    @cached_property
    def _network(self) -> Config:
        """Base config of the work dir."""
        return network_config(self.plan)

    def run(self, resume: bool, dry_run: bool, retrain: bool) -> Architecture | None:
        check_config_folder(self.work_dir)
        note = describe_replacement(self.plan)
        if note and is_main_process():
            print(f'note: {note}')
        if dry_run:
            start = self._start()
            self._check_targets(start)
            self._plan_times(start, self.plan.levels, retrain)
            return None
        with self._lock(self.work_dir):
            self._claim(resume)
            if resume and not (self.work_dir / PLAN_FILE).is_file() and is_main_process():
                print(f'note: {self.work_dir} contains no search to resume: starting a new one')
            start = self._start()
            done = [level for level in self.plan.levels if self._result(level).is_file()]
            todo = [level for level in self.plan.levels if level not in done]
            times = self._plan_times(start, todo, retrain) if todo else {}
            if is_main_process():
                write_text(self.work_dir / PLAN_FILE, self.plan.to_json(self.work_dir))
            text = movable_text(self._network, self.plan.data_root, self.work_dir)
            self._write_config(self.work_dir / NETWORK_FILE, text)
            current = load_architecture(self._result(done[-1])) if done else start
            for level in todo:
                current = self._stage(level, current, times)
            assert current is not None  # a plan has at least one stage
            if current.complete:
                self._retrain_file(self.work_dir)
            if is_main_process() and any(
                (self.work_dir / level / HISTORY_FILE).is_file() for level in self.space.levels
            ):
                save_search_report(self.work_dir, self.work_dir / 'report', pictures=False)
            if current.complete and retrain:
                self._retrain()
        if is_main_process():
            show_result(current, self._result(current.level), self.seconds)
            if self.plan.targets and current.complete:
                show_targets(self.plan, self._folders())
        return current

    def _stage(
        self, level: str, start: Architecture | None, times: dict[str, StageTime]
    ) -> Architecture:
        """Run a stage from its config file, decode its supernet, and save the result."""
        began, folder = time.monotonic(), self.work_dir / level
        architecture: str | dict | None = None
        if start is not None:
            before = self.space.before(level)
            by_user = self.plan.architecture is not None and level == self.plan.levels[0]
            architecture = (
                start.to_document() if by_user or before is None else _result_path(before)
            )
        path = self.work_dir / f'{level}.py'
        self._write_inheriting(path, stage_config(self.plan, level, architecture))
        with self._lock(folder):
            runner = build_runner(self._load(path, folder))
            later = list(times)[list(times).index(level) + 1 :]
            remaining = sum(times[other].seconds() for other in later)
            runner.register_hook(ProgressHook(level, times[level], remaining))
            runner.train()
        hook = next(h for h in runner.hooks if isinstance(h, ArchitectureSearchHook))
        identity: dict[str, Any] = dict(
            name=self.work_dir.resolve().name,
            provenance={
                **(start.provenance if start else {}),
                'searched_with': 'dnas_mmseg',
                level: {
                    'config': Path(self.plan.config or self.space.config).name,
                    'epochs': runner.epoch,
                    'seed': self.plan.seed,
                },
            },
        )
        identity['provenance'].pop('cost', None)  # cost at the previous stage
        mode = multi_target_mode(self.plan, level)
        if len(self.plan.targets) > 1 and mode is not MultiTargetMode.SHARED:
            assert hook.cost is not None
            decoded = representative_architecture(
                mode, self._decode_each(level, hook.cost, identity)
            )
            if mode is MultiTargetMode.JOINED:
                decoded = replace(decoded, **identity)
        else:
            decoded = hook.decode()
            if hook.cost is not None:
                identity['provenance']['cost'] = hook.cost.provenance(decoded, hook.cost.target)
            decoded = replace(decoded, **identity)
        del runner, hook
        gc.collect()
        if is_main_process():
            decoded.save(self._result(level))
        barrier()
        self.seconds[level] = time.monotonic() - began
        return decoded

    def _decode_each(
        self, level: str, cost: CostTarget, identity: Mapping[str, Any]
    ) -> list[Architecture]:
        """Decode one network per target from the supernet of a stage, and save each."""
        folders = self._folders()
        parts: list[Architecture | None] = [None] * len(folders)
        if multi_target_mode(self.plan, level) is MultiTargetMode.WITHIN:
            before = self.space.before(level)
            parts = [load_architecture(folder / f'{before}.json') for _, folder in folders]
        networks = []
        for (target, folder), found in zip(
            folders, decode_each(cost.costs, self.plan.targets, parts), strict=True
        ):
            provenance = {**identity['provenance'], 'cost': cost.provenance(found, target)}
            found = replace(found, name=f'{identity["name"]}_{folder.name}', provenance=provenance)
            networks.append(found)
            if is_main_process():
                found.save(folder / self._result(level).name)
            if found.complete:
                self._retrain_file(folder)
        return networks

    def _folders(self) -> list[tuple[float, Path]]:
        """Return pairs of a target and the folder of its network."""
        if len(self.plan.targets) == 1:
            return [(self.plan.targets[0], self.work_dir)]
        names = self.plan.target_names
        folders = [self.work_dir / 'targets' / name for name in names]
        return list(zip(self.plan.targets, folders, strict=True))

    def _retrain(self) -> None:
        """Train and test every network that was found."""
        folders = [folder for _, folder in self._folders()] if self.plan.targets else []
        for folder in folders or [self.work_dir]:
            config = self._load(folder / RETRAIN_FILE, folder / 'retrain')
            train(config)
            barrier()  # the main process may still be writing the best checkpoint
            test(self._load(folder / RETRAIN_FILE, folder / 'test'), find_result_checkpoint(config))

    def _load(self, path: Path, folder: Path) -> Config:
        """Load a config of this work dir and prepare it for a new or resumed run."""
        config = Config.fromfile(str(path))
        set_work_dir(config, folder)
        config.randomness = {**(config.get('randomness') or {}), 'seed': self.plan.seed}
        if self.tensorboard:
            log_to(config, ['tensorboard'])
        if last_checkpoint(folder) is not None:
            config.resume, config.load_from = True, None
        for leftover in folder.glob('.*.pth') if is_main_process() else ():
            leftover.unlink()  # incomplete checkpoint of a killed run
        set_launcher(config, self.launcher)
        return config

    def _start(self) -> Architecture | None:
        """Load the architecture that the first stage starts from; None for a space's first stage.

        Raises:
            ArchitectureError: The architecture is missing, or has another space, level or number of
                layers.
        """
        first = self.plan.levels[0]
        needed = self.space.before(first)
        source: str | Path | None = self.plan.architecture
        if needed is None:
            if source is not None:
                raise ArchitectureError(
                    f'stage {first} is the first one and supports no --architecture'
                )
            return None
        if source is None:
            result = self._result(needed)
            if not result.is_file():
                raise ArchitectureError(
                    f"stage {first} requires an architecture of level '{needed}': set "
                    f'--architecture, or run stage {needed} first'
                )
            source = result
        architecture = load_architecture(source)
        architecture.require(self.plan.space, needed, by=f'stage {first}')
        layers = getattr(architecture, 'layers', None)
        if self.plan.layers not in (None, layers):
            raise ArchitectureError(
                f"architecture '{architecture.name}' has {layers} layers, expected "
                f'{self.plan.layers} (--layers)'
            )
        return architecture

    def _remove_stale(self, stages: Sequence[str]) -> None:
        """Remove configs of an earlier search that failed before its first checkpoint.

        Raises:
            UserError: A config was not written by a search.
        """
        paths = [self.work_dir / f'{name}.py' for name in ('network', *stages, 'retrain')]
        paths = [path for path in paths if path.is_file()]
        for path in paths:
            if not path.read_text(encoding='utf-8', errors='replace').startswith(_WRITTEN_HERE):
                raise UserError(
                    f'{path} exists and was not written by a search: choose another work dir'
                )
        if is_main_process():
            for path in paths:
                path.unlink()

    def _result(self, level: str) -> Path:
        last = level == self.space.levels[-1]
        return self.work_dir / (ARCHITECTURE_FILE if last else f'{level}.json')

    def _lock(self, folder: Path) -> AbstractContextManager:
        """Lock a folder against other runs, in the main process."""
        return lock_folder(folder) if is_main_process() else nullcontext()

    def _claim(self, resume: bool) -> None:
        """Check that the work dir is free, or contains the search to resume.

        Raises:
            UserError: The work dir contains another search, or ``resume`` is not set.
        """
        stages = self.space.levels
        begun = [
            level
            for level in stages
            if self._result(level).is_file() or last_checkpoint(self.work_dir / level) is not None
        ]
        if not begun:
            if (self.work_dir / PLAN_FILE).is_file():
                SearchPlan.load(self.work_dir)  # raises if a search has not written it
            self._remove_stale(stages)
            return
        if not resume:
            raise UserError(
                f'{self.work_dir} already contains a search: resume it with --resume, or choose '
                'another work dir'
            )
        before = SearchPlan.load(self.work_dir)
        differences = self.plan.differences(before)
        if differences:
            raise UserError(
                f'{self.work_dir} contains another search. Differences:\n'
                + '\n'.join(f'  - {line}' for line in differences)
            )
        levels = tuple(s for s in stages if s in self.plan.levels or s in before.levels)
        self.plan = replace(self.plan, levels=levels)
        done = [self._result(level).is_file() for level in levels]
        if done != sorted(done, reverse=True):
            raise UserError(
                f'{self.work_dir} contains the result of stage {levels[done.index(True)]}, but not '
                f'of the earlier stage {levels[done.index(False)]}: choose another work dir'
            )

    def _retrain_file(self, folder: Path) -> None:
        """Write the config that trains the architecture in a folder."""
        self._write_inheriting(
            folder / RETRAIN_FILE, retrain_config(self.plan, _result_path('architecture'))
        )

    def _write_inheriting(self, path: Path, config: Config) -> None:
        """Write a config as overrides of the base config."""
        base = os.path.relpath(self.work_dir / NETWORK_FILE, path.parent)
        self._write_config(path, format_inheriting_config(base, self._network, config))

    def _write_config(self, path: Path, text: str) -> None:
        """Write a config; an existing one must be equal, except for the data root.

        Raises:
            UserError: The existing config differs.
        """
        if is_main_process():
            text = f'{_WRITTEN_HERE}\n{text}'
            before = path.read_text(encoding='utf-8') if path.is_file() else text
            if _DATA_ROOT.sub('', before) != _DATA_ROOT.sub('', text):
                changes = difflib.unified_diff(
                    before.splitlines(), text.splitlines(), 'existing', 'expected', n=0
                )
                raise UserError(
                    f'{path} differs from the config of this plan: it was edited, or the original '
                    'config has changed. Undo the change, or choose another work dir:\n'
                    + '\n'.join(f'  {line.rstrip()}' for line in list(changes)[:12])
                )
            write_text(path, text)
        barrier()

    def _plan_times(
        self, start: Architecture | None, levels: list[str] | tuple[str, ...], retrain: bool
    ) -> dict[str, StageTime]:
        """Estimate the times of the stages, and print the plan."""
        times = {level: stage_time(self.plan, level) for level in levels}
        if is_main_process():
            title = f'search in space {self.plan.space}: {self.work_dir}'
            show_plan(title, start, times, retrain)
        return times

    def _check_targets(self, start: Architecture | None) -> None:
        """Check that the first stage can reach the targets.

        Raises:
            CostError: A target cannot be reached, or the latency table was measured on another
                device or for other settings.
        """
        if self.plan.targets:
            config = stage_config(self.plan, self.plan.levels[0], start)
            cost = CostTarget(**search_hook(config)['cost'])
            cost.prepare(MODELS.build(config.model.backbone).to(get_device()), config.model)


def _result_path(level: str) -> str:
    """Return the path of a result for configs in the same folder; the folder can be moved."""
    return f'{{{{ fileDirname }}}}/{level}.json'
