"""What identifies a selection: its plan, data, config and version.

A command resumes a work dir, or uses a queue, only if it would run the same trainings.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from dnas_mmseg.errors import UserError
from dnas_mmseg.work_dir import PLAN_FILE

from .plan import SelectionPlan
from .queue import StorageError, TrainingQueue
from .trainings import CandidateTrainings, config_checksum, data_checksum

_FORMAT = 4
"""Version of the trainings in a queue; trainings of another version are not comparable."""


def get_identity(
    plan: SelectionPlan, trainings: CandidateTrainings, work_dir: Path
) -> dict[str, str]:
    """Return the metadata that all commands of a queue must share.

    Args:
        plan: Settings of the selection.
        trainings: Trainings of its candidates.
        work_dir: Work dir of the command, to which paths of the plan are relative.
    """
    candidates = trainings.candidates
    config = trainings.with_lists(copy.deepcopy(candidates.config))
    return {
        'plan': plan.to_json(work_dir),
        'data': data_checksum(config, work_dir),
        'config': config_checksum(candidates),
        'version': version('dnas_mmseg'),
        'format': str(_FORMAT),
    }


def check_work_dir(plan: SelectionPlan, work_dir: Path, resume: bool) -> None:
    """Check that a work dir is free, or contains the selection to resume.

    Raises:
        UserError: The work dir contains another selection, or ``resume`` is not set.
    """
    if not (work_dir / PLAN_FILE).is_file():
        return
    stored = SelectionPlan.load(work_dir)
    if not resume:
        raise UserError(
            f'{work_dir} already contains a selection: resume it with --resume, or choose '
            'another work dir'
        )
    if differences := plan.differences(stored):
        raise UserError(_describe(work_dir, differences))


def check_queue_plan(queue: TrainingQueue, plan: SelectionPlan, work_dir: Path) -> None:
    """Check that a queue has the plan of this command, before anything is built.

    Raises:
        StorageError: The plans differ; the message lists the differences.
    """
    _require_equal(queue, _plan_differences(queue, plan, work_dir))


def check_queue(
    queue: TrainingQueue, plan: SelectionPlan, work_dir: Path, identity: Mapping[str, str]
) -> None:
    """Check that a queue has the plan, data, config and version of this command.

    Raises:
        StorageError: The queue differs; the message lists the differences.
    """
    found = {name: queue.get_metadata(name) for name in identity}
    outdated = [
        f'{name}: {found[name]}, now {identity[name]}; start a new selection'
        for name in ('version', 'format')
        if found[name] != identity[name]
    ]
    if outdated:
        raise StorageError(_describe(queue.storage, outdated))
    lines = _plan_differences(queue, plan, work_dir)
    lines += [
        f'{name}: the checksums differ'
        for name in ('data', 'config')
        if found[name] != identity[name]
    ]
    _require_equal(queue, lines)


def _plan_differences(queue: TrainingQueue, plan: SelectionPlan, work_dir: Path) -> list[str]:
    stored = SelectionPlan.parse(queue.get_metadata('plan') or '', queue.storage, work_dir)
    return plan.differences(stored)


def _require_equal(queue: TrainingQueue, differences: Sequence[str]) -> None:
    if differences:
        raise StorageError(
            f'{_describe(queue.storage, differences)}\nRepeat its --config, --cfg-options, '
            '--lists, --families, --candidates and --latency-table'
        )


def _describe(place: str | Path, differences: Sequence[str]) -> str:
    lines = '\n'.join(f'  - {line}' for line in differences)
    return f'{place} contains another selection. Differences:\n{lines}'
