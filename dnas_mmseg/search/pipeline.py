"""The whole search: stage after stage, from tiles to an architecture and a config for it.

Files of a work dir:

    search.json                  the plan; --resume goes by it
    network.py                   the user's config as the search found it; the others inherit it
    <level>.py, <level>/         a stage's config, an ordinary one, and its run
    path.json, connection.json   what a stage decided, the next one's input
    architecture.json            what the last one decided
    retrain.py                   a config that trains it; retrain/ and test/ with --retrain
    targets/<target>/            with several targets: what each network is, and its retrain.py
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
from dnas_mmseg.engine.configs import inheriting_text
from dnas_mmseg.engine.distributed import join_processes, set_launcher
from dnas_mmseg.engine.running import build_runner, test, train
from dnas_mmseg.engine.seeds import find_result_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_text
from dnas_mmseg.spaces.architecture import Architecture, ArchitectureError
from dnas_mmseg.spaces.registry import SPACES, load_architecture
from dnas_mmseg.spaces.space import MultiTargetMode

from .history import HISTORY_FILE
from .hook import ArchitectureSearchHook
from .multi_target import decode_each, representative_architecture
from .network_config import network_config
from .plan import NETWORK_FILE, PLAN_FILE, SearchPlan
from .report import save_search_report
from .stages import multi_target_mode, retrain_config, search_hook, stage_config
from .summary import show_plan, show_result, show_targets
from .target import CostTarget
from .time import ProgressHook, StageTime, stage_time

WRITTEN_HERE = '# Written by `dnas search`; an ordinary config.'
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
    """Run a search.

    Args:
        plan: Settings of the search.
        work_dir: Folder of all results.
        resume: Whether to go on where a run in ``work_dir`` stopped.
        dry_run: Whether to show only the stages and the time that they would take.
        retrain: Whether to train and test the networks that are found.
        tensorboard: Whether to write the figures for TensorBoard, too.
        launcher: Launcher of the processes, as mmengine names it.

    Returns:
        Architecture of the last stage; None for a dry run.

    Raises:
        UserError: The work dir is in use, holds another search, or the plan cannot work.
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
        """Config that those of the work dir inherit."""
        return network_config(self.plan)

    def run(self, resume: bool, dry_run: bool, retrain: bool) -> Architecture | None:
        if dry_run:
            start = self._start()
            self._check_targets(start)
            self._plan_times(start, self.plan.levels, retrain)
            return None
        with self._alone(self.work_dir):
            self._claim(resume)
            if resume and not (self.work_dir / PLAN_FILE).is_file() and is_main_process():
                print(f'note: {self.work_dir} holds no search yet: it begins now')
            start = self._start()
            done = [level for level in self.plan.levels if self._result(level).is_file()]
            todo = [level for level in self.plan.levels if level not in done]
            times = self._plan_times(start, todo, retrain) if todo else {}
            if is_main_process():
                write_text(self.work_dir / PLAN_FILE, self.plan.to_json(self.work_dir))
            text = movable_text(self._network, self.plan.data_root, self.work_dir)
            self._config_file(self.work_dir / NETWORK_FILE, text)
            current = load_architecture(self._result(done[-1])) if done else start
            for level in todo:
                current = self._stage(level, current, times)
            assert current is not None  # a plan has a stage
            if current.complete:
                self._retrain_file(self.work_dir)
            if is_main_process() and any(self.work_dir.glob(f'*/{HISTORY_FILE}')):
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
        """Run a stage from its config file, decode it, and keep the result."""
        began, folder = time.monotonic(), self.work_dir / level
        given: str | dict | None = None
        if start is not None:
            before = self.space.before(level)
            by_user = self.plan.architecture is not None and level == self.plan.levels[0]
            given = start.to_document() if by_user or before is None else _beside(before)
        path = self.work_dir / f'{level}.py'
        self._inheriting_file(path, stage_config(self.plan, level, given))
        with self._alone(folder):
            runner = build_runner(self._load(path, folder))
            later = list(times)[list(times).index(level) + 1 :]
            remaining = sum(times[other].seconds() for other in later)
            runner.register_hook(ProgressHook(level, times[level], remaining))
            runner.train()
        hook = next(h for h in runner.hooks if isinstance(h, ArchitectureSearchHook))
        named: dict[str, Any] = dict(
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
        named['provenance'].pop('cost', None)  # that of the stage before
        several = multi_target_mode(self.plan, level)
        if len(self.plan.targets) > 1 and several is not MultiTargetMode.SHARED:
            assert hook.cost is not None
            decoded = representative_architecture(
                several, self._decode_each(level, hook.cost, named)
            )
            if several is MultiTargetMode.JOINED:
                decoded = replace(decoded, **named)
        else:
            decoded = hook.decode()
            if hook.cost is not None:
                named['provenance']['cost'] = hook.cost.provenance(decoded, hook.cost.target)
            decoded = replace(decoded, **named)
        del runner, hook
        gc.collect()
        if is_main_process():
            decoded.save(self._result(level))
        barrier()
        self.seconds[level] = time.monotonic() - began
        return decoded

    def _decode_each(
        self, level: str, cost: CostTarget, named: Mapping[str, Any]
    ) -> list[Architecture]:
        """Decode a network per target from one stage's weights, each into a folder of its own."""
        folders = self._folders()
        parts: list[Architecture | None] = [None] * len(folders)
        if multi_target_mode(self.plan, level) is MultiTargetMode.WITHIN:
            before = self.space.before(level)
            parts = [load_architecture(folder / f'{before}.json') for _, folder in folders]
        networks = []
        for (target, folder), found in zip(
            folders, decode_each(cost.costs, self.plan.targets, parts), strict=True
        ):
            provenance = {**named['provenance'], 'cost': cost.provenance(found, target)}
            found = replace(found, name=f'{named["name"]}_{folder.name}', provenance=provenance)
            networks.append(found)
            if is_main_process():
                found.save(folder / self._result(level).name)
            if found.complete:
                self._retrain_file(folder)
        return networks

    def _folders(self) -> list[tuple[float, Path]]:
        """Return each target with the folder of its network."""
        if len(self.plan.targets) == 1:
            return [(self.plan.targets[0], self.work_dir)]
        names = self.plan.target_names
        folders = [self.work_dir / 'targets' / name for name in names]
        return list(zip(self.plan.targets, folders, strict=True))

    def _retrain(self) -> None:
        """Train and test every network that was found."""
        folders = [folder for _, folder in self._folders()] if self.plan.targets else []
        for folder in folders or [self.work_dir]:
            config = self._load(folder / 'retrain.py', folder / 'retrain')
            train(config)
            barrier()  # the main process may still be writing the best checkpoint
            test(self._load(folder / 'retrain.py', folder / 'test'), find_result_checkpoint(config))

    def _load(self, path: Path, folder: Path) -> Config:
        """Return a config of this work dir, ready to start or to resume its run."""
        config = Config.fromfile(str(path))
        config.work_dir = str(folder)
        config.randomness = {**config.get('randomness', {}), 'seed': self.plan.seed}
        config.visualizer.name = str(folder)  # there is one of each name in a process
        if self.tensorboard:
            config.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
        if last_checkpoint(folder) is not None:
            config.resume, config.load_from = True, None
        for leftover in folder.glob('.*.pth') if is_main_process() else ():
            leftover.unlink()  # of a checkpoint that a kill cut off
        set_launcher(config, self.launcher)
        return config

    def _start(self) -> Architecture | None:
        """Return the architecture that the first stage starts from; None for a space's first stage.

        Raises:
            ArchitectureError: The architecture is missing, or of another space, level or number of
                layers.
        """
        first = self.plan.levels[0]
        needed = self.space.before(first)
        source: str | Path | None = self.plan.architecture
        if needed is None:
            if source is not None:
                raise ArchitectureError(
                    f'stage {first} starts from nothing; leave out --architecture'
                )
            return None
        if source is None:
            result = self._result(needed)
            if not result.is_file():
                raise ArchitectureError(
                    f"stage {first} starts from an architecture of level '{needed}': name one by "
                    f'--architecture, or run stage {needed} first'
                )
            source = result
        architecture = load_architecture(source)
        architecture.require(self.plan.space, needed, by=f'stage {first}')
        layers = getattr(architecture, 'layers', None)
        if self.plan.layers not in (None, layers):
            raise ArchitectureError(
                f"architecture '{architecture.name}' has {layers} layers, the search is for "
                f'{self.plan.layers} (--layers)'
            )
        return architecture

    def _remove_stale(self, stages: Sequence[str]) -> None:
        """Remove the configs that a search which could not begin has left, and no other files.

        Raises:
            UserError: There are such files, and no search has written them.
        """
        found = [self.work_dir / f'{name}.py' for name in ('network', *stages, 'retrain')]
        found = [path for path in found if path.is_file()]
        for path in found:
            if not path.read_text(encoding='utf-8', errors='replace').startswith(WRITTEN_HERE):
                raise UserError(
                    f'{path} is there, and no search has written it: choose another work dir'
                )
        if is_main_process():
            for path in found:
                path.unlink()

    def _result(self, level: str) -> Path:
        last = level == self.space.levels[-1]
        return self.work_dir / ('architecture.json' if last else f'{level}.json')

    def _alone(self, folder: Path) -> AbstractContextManager:
        """Keep other runs out of a folder, by a lock of the main process."""
        return lock_folder(folder) if is_main_process() else nullcontext()

    def _claim(self, resume: bool) -> None:
        """Claim the work dir for this search, or compare the plan with that of the search in it.

        Raises:
            UserError: The work dir holds another search, or one that was not asked to be resumed.
        """
        stages = self.space.levels
        begun = [
            level
            for level in stages
            if self._result(level).is_file() or last_checkpoint(self.work_dir / level) is not None
        ]
        if not begun:
            if (self.work_dir / PLAN_FILE).is_file():
                SearchPlan.load(self.work_dir)  # refuses a file that no search has written
            self._remove_stale(stages)
            return
        if not resume:
            raise UserError(
                f'{self.work_dir} holds a search already: --resume goes on with it; choose another '
                'work dir for a new one'
            )
        before = SearchPlan.load(self.work_dir)
        differences = self.plan.differences(before)
        if differences:
            raise UserError(
                f'{self.work_dir} holds another search. What differs:\n'
                + '\n'.join(f'  - {line}' for line in differences)
            )
        levels = tuple(s for s in stages if s in self.plan.levels or s in before.levels)
        self.plan = replace(self.plan, levels=levels)
        done = [self._result(level).is_file() for level in levels]
        if done != sorted(done, reverse=True):
            raise UserError(
                f'{self.work_dir} has the result of stage {levels[done.index(True)]}, which comes '
                f'after the one to run ({levels[done.index(False)]}): choose another work dir'
            )

    def _retrain_file(self, folder: Path) -> None:
        """Write the config that trains the architecture in a folder."""
        self._inheriting_file(
            folder / 'retrain.py', retrain_config(self.plan, _beside('architecture'))
        )

    def _inheriting_file(self, path: Path, config: Config) -> None:
        """Write a config as its changes to the network's config."""
        base = os.path.relpath(self.work_dir / NETWORK_FILE, path.parent)
        self._config_file(path, inheriting_text(base, self._network, config))

    def _config_file(self, path: Path, text: str) -> None:
        """Write a config, or check that it is the same as when this search began."""
        if is_main_process():
            text = f'{WRITTEN_HERE}\n{text}'
            before = path.read_text(encoding='utf-8') if path.is_file() else text
            if _DATA_ROOT.sub('', before) != _DATA_ROOT.sub('', text):  # the data may be moved
                changes = difflib.unified_diff(
                    before.splitlines(), text.splitlines(), 'as it is', 'as it would be', n=0
                )
                raise UserError(
                    f'{path} is not what the plan leads to now: it was edited, or the config it '
                    'comes from has changed since. Change that back, or choose another work dir:\n'
                    + '\n'.join(f'  {line.rstrip()}' for line in list(changes)[:12])
                )
            write_text(path, text)
        barrier()

    def _plan_times(
        self, start: Architecture | None, levels: list[str] | tuple[str, ...], retrain: bool
    ) -> dict[str, StageTime]:
        """Estimate the stages and show the plan."""
        times = {level: stage_time(self.plan, level) for level in levels}
        if is_main_process():
            title = f'search in space {self.plan.space}: {self.work_dir}'
            show_plan(title, start, times, retrain)
        return times

    def _check_targets(self, start: Architecture | None) -> None:
        """Check that the first stage can reach the targets.

        Raises:
            CostError: The stage cannot, or the table of latencies does not hold here.
        """
        if self.plan.targets:
            config = stage_config(self.plan, self.plan.levels[0], start)
            cost = CostTarget(**search_hook(config)['cost'])
            cost.prepare(MODELS.build(config.model.backbone).to(get_device()), config.model)


def movable_text(config: Config, data_root: str | None, folder: Path) -> str:
    """Return a config's text for a file in a folder, where data are named relative to the folder.

    Args:
        config: The config.
        data_root: Absolute path of the data that were chosen by an option; None where the config
            names them.
        folder: Folder of the file.
    """
    text = config.pretty_text
    if data_root is None or not os.path.isabs(data_root):
        return text
    place = Path(os.path.relpath(data_root, folder)).as_posix()
    return text.replace(f"data_root='{data_root}'", f"data_root='{{{{ fileDirname }}}}/{place}'")


def _beside(level: str) -> str:
    """Return the path of a result of the work dir in a config beside it: both can be moved."""
    return f'{{{{ fileDirname }}}}/{level}.json'
