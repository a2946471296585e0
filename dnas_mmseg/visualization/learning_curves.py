"""Learning curves of training runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path

from .plain_text import plain_text


def read_scores(work_dir: str | os.PathLike, score: str = 'mIoU') -> dict[int, float]:
    """Read the validation scores of a training run from its logs, including resumed parts.

    Args:
        work_dir: Work dir of the run.
        score: Name of a validation score.

    Returns:
        Score by step, which is the number of epochs of an epoch-based run, in order.
    """
    values = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # truncated when the process was killed
            if score in entry:
                values[entry['step']] = entry[score]
    return dict(sorted(values.items()))


def read_curve(work_dir: str | os.PathLike, score: str = 'mIoU') -> list[tuple[float, float]]:
    """Read the learning curve of a training run from its logs, including resumed parts.

    Args:
        work_dir: Work dir of the run.
        score: Name of a validation score.

    Returns:
        Pairs of progress and score; progress is the share of the schedule, 0 to 1. A run that has
        stopped early, or is not finished, ends before 1.

    Raises:
        UserError: The logs contain no validation with this score.
    """
    values = read_scores(work_dir, score)
    if not values:
        raise UserError(f'{work_dir}: the logs contain no validation with {score}')
    last = max(*values, _schedule_length(work_dir) or 1)
    return [(step / last, value) for step, value in values.items()]


def _schedule_length(work_dir: str | os.PathLike) -> int | None:
    """Return the epochs or iterations of the last config logged in a work dir; None if unknown."""
    paths = sorted(Path(work_dir).glob('*/vis_data/config.py'))
    if not paths:
        return None
    schedule = Config.fromfile(paths[-1], import_custom_modules=False).get('train_cfg') or {}
    return schedule.get('max_epochs') or schedule.get('max_iters')


def find_training_folders(work_dir: str | os.PathLike) -> list[Path]:
    """Return the folders of a work dir's runs, one per seed or fold, or the work dir itself."""
    pattern = re.compile(r'(seed|fold)_(\d+)')
    found = {path: pattern.fullmatch(path.name) for path in Path(work_dir).glob('*_*')}
    numbers = {path: (match[1], int(match[2])) for path, match in found.items() if match}
    return sorted(numbers, key=numbers.__getitem__) or [Path(work_dir)]


def save_learning_curves(
    path: str | os.PathLike,
    runs: Mapping[str, Sequence[Sequence[tuple[float, float]]]],
    score: str = 'mIoU',
) -> None:
    """Write a PNG with the learning curves of each model and their mean.

    Args:
        path: Path of the file.
        runs: Curves of each model, as returned by :func:`read_curve`.
        score: Name of the score, for the axis label.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout='constrained')
    axes = figure.add_subplot()
    for i, (name, curves) in enumerate(runs.items()):
        colour = f'C{i}'
        if len(curves) == 1:
            axes.plot(
                *zip(*curves[0], strict=True), 'o-', color=colour, linewidth=2, markersize=4,
                label=plain_text(name),
            )  # fmt: skip
            continue
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=colour, linewidth=0.8, alpha=0.45)
        start, end = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
        shares = np.linspace(start, max(start, end), 50)
        mean = np.mean(
            [np.interp(shares, [x for x, _ in curve], [y for _, y in curve]) for curve in curves],
            axis=0,
        )
        axes.plot(
            shares,
            mean,
            color=colour,
            linewidth=2,
            label=plain_text(f'{name} (mean of {len(curves)} runs)'),
        )
    axes.set_xlabel('share of the schedule')
    axes.set_ylabel(f'{score} on the validation set, %')
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png')
