"""Console output of a search: plan, result, and cost of networks compared with targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from dnas_mmseg.cost.parts import segmentor_cost
from dnas_mmseg.cost.table import format_cost
from dnas_mmseg.runs.durations import duration
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.work_dir import ARCHITECTURE_FILE, RETRAIN_FILE, SEARCH_REPORT

from .plan import SearchPlan
from .time import StageTime

_TOLERANCE = 0.1
"""Relative deviation of a cost from its target (about 10 %) above which a note is printed. Costs of
a space are discrete, so small deviations are normal."""


def show_plan(
    title: str, start: Architecture | None, times: Mapping[str, StageTime], retrain: bool
) -> None:
    """Print the stages of a search with their estimated times.

    Args:
        title: Title of the table.
        start: Architecture that the first stage starts from; None for a space's first stage.
        times: Times of the stages, by level.
        retrain: Whether retraining follows.
    """
    table = Table(title=title)
    for heading in ('stage', 'epochs', 'from epoch', 'iterations', 's / iteration', 'time'):
        table.add_column(heading, justify='left' if heading == 'stage' else 'right')
    for level, stage in times.items():
        table.add_row(
            level,
            str(stage.epochs),
            f'{stage.arch_start + 1}',
            f'{stage.epochs * stage.iterations:,}',
            f'{stage.plain:.2f} / {stage.searching:.2f}',
            duration(stage.seconds()),
        )
    table.add_section()
    total = sum(stage.seconds() for stage in times.values())
    table.add_row('all', '', '', '', '', duration(total))
    table.caption = (
        f'start: {start.name if start else "none"}; from epoch: first one with architecture steps; '
        f's / iteration: without / with such a step'
        f'{"; retraining and testing follow" if retrain else ""}'
    )
    Console().print(table)


def show_result(found: Architecture, path: Path, seconds: Mapping[str, float]) -> None:
    """Print the result of a search and the next commands.

    Args:
        found: Architecture of the last stage.
        path: File of the architecture, in the work dir.
        seconds: Time of each stage of this run, in seconds, by level.
    """
    lines = [f'{level}: {duration(s)}' for level, s in seconds.items()]
    print(f'\nsearch complete ({", ".join(lines) or "no stage was left"})')
    for key, value in found.summary.items():
        print(f'  {key}: {value}')
    print(f'  {path}')
    if found.complete:
        print(f'  train:   dnas train {path.with_name(RETRAIN_FILE)}')
    print(f'  report:  {path.parent}/{SEARCH_REPORT} (PNG files: dnas report {path.parent})')


def show_targets(plan: SearchPlan, folders: Sequence[tuple[float, Path]]) -> None:
    """Print the targets with predicted and actual costs of the found networks.

    Args:
        plan: Settings of the search.
        folders: Pairs of a target and the folder of its network.
    """
    metric, size = plan.cost, (plan.cost_size,) * 2
    table = Table(title=f'cost on images of {size[0]} x {size[1]}')
    measured = 'measured' if metric == 'latency' else 'counted'
    for heading in ('target', 'predicted', measured, 'deviation', 'config'):
        table.add_column(heading, justify='left' if heading == 'config' else 'right')
    missed: list[str] = []
    for target, folder in folders:
        found = load_architecture(folder / ARCHITECTURE_FILE)
        config = Config.fromfile(str(folder / RETRAIN_FILE))
        config.model.pop('auxiliary_head', None)
        real = segmentor_cost(config.model, metric, size)
        table.add_row(
            format_cost(target, metric),
            format_cost(found.provenance['cost']['predicted'], metric),
            format_cost(real, metric),
            f'{100 * (real / target - 1):+.1f} %',
            str(folder / RETRAIN_FILE),
        )
        if abs(math.log(real / target)) > _TOLERANCE:
            missed.append(format_cost(target, metric))
    Console().print(table)
    if missed:
        print(
            f'note: {", ".join(missed)}: this search contains no network closer to the target, as '
            'path and connections have discrete costs; a search for this target alone may find one'
        )
