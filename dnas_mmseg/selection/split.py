"""Tiles to score candidates on: the validation list, or a part of the training list.

A validation list exists to choose between networks, and ``dnas split`` separates it from the
training tiles on the ground. A part of the training list is held out where it cannot be used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text
from dnas_mmseg.raster import parse_array_name

_LEAST_SHARE = 0.1
"""Least number of validation tiles, relative to training tiles; fewer make scores noisier than
those of a held-out part. More tiles than for training would make validations take most of the
time."""

_SCORED_SHARE = 0.2
"""Share of the tiles to score on. More makes scores less noisy, less leaves more tiles to train
on."""

_MIN_SCENES = 5
"""Number of scenes from which whole scenes are split. With fewer, a scene is more than a fifth of
the tiles, and runs of consecutive tiles are split instead."""

_RUN = 8
"""Length of these runs. Longer ones separate more neighbouring tiles, shorter ones make the two
parts more alike."""


def validation_problem(config: Config) -> str | None:
    """Return why candidates cannot be scored on the validation list of a config; None if they can.

    It must be labelled, have at least a tenth and at most all as many tiles as the training list,
    and share no tile with it or with the test list, whose score would no longer be independent.
    """
    if not config.get('val_dataloader'):
        return 'the config has no val_dataloader'
    leaves = [list(leaf_datasets(config[f'{split}_dataloader'])) for split in ('train', 'val')]
    if any(len(own) > 1 for own in leaves):
        return 'there are several data sets for training or validation'
    settings = [_settings(own[0]) for own in leaves]
    if settings[0] != settings[1]:
        return 'the validation data have other settings than the training data'
    used, held_out = (DATASETS.build(own[0]) for own in leaves)
    if not isinstance(held_out, MultiBandSegDataset):
        return 'the data set is not a MultiBandSegDataset'
    if not _LEAST_SHARE * len(used) <= len(held_out) <= len(used):
        return f'the validation list has {len(held_out)} tiles, the training list {len(used)}'
    if any(label is None for _, label in held_out.pairs):
        return 'the validation list has tiles without labels'
    if not any(held_out.get_cat_ids(i) for i in range(len(held_out))):
        return 'no pixel of the validation tiles is labelled'
    tiles = _images([held_out])
    if tiles & _images([used]):
        return 'the validation list shares tiles with the training list'
    if config.get('test_dataloader') and tiles & _images(_build_all(config.test_dataloader)):
        return 'the validation list shares tiles with the test list'
    return None


def _settings(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a data set that its list does not replace."""
    replaced = ('ann_file', 'pipeline', 'test_mode')
    return {key: value for key, value in dataset.items() if key not in replaced}


def validation_lists(config: Config, folder: Path) -> tuple[Path, Path]:
    """Write training and validation list of a config as ``train.txt`` and ``scored.txt``.

    They stay as they are now if the user's lists change.

    Args:
        config: Config without a :func:`validation_problem`.
        folder: Output folder.

    Returns:
        Paths of the lists to train on and to score on.
    """
    paths = folder / 'train.txt', folder / 'scored.txt'
    for path, split in zip(paths, ('train', 'val'), strict=True):
        (leaf,) = leaf_datasets(config[f'{split}_dataloader'])
        dataset = DATASETS.build(leaf)
        write_text(path, ''.join(_line(pair, dataset.data_root) for pair in dataset.pairs))
    return paths


def selection_lists(config: Config, seed: int, folder: Path) -> tuple[Path, Path]:
    """Split the training list of a config randomly, and write ``train.txt`` and ``scored.txt``.

    With at least five scenes (tiles named ``<scene>_<row>_<column>``), scenes are not divided.
    Otherwise runs of consecutive tiles are not divided, since consecutive tiles are often adjacent
    on the ground. Tiles without labels are not scored.

    Args:
        config: Config of a network on the user's data.
        seed: Seed of the split.
        folder: Output folder.

    Returns:
        Paths of the lists to train on and to score on.

    Raises:
        UserError: The training set is not a single ``MultiBandSegDataset``, is too small, or has
            no labels in the part to score on.
    """
    dataset = _plain_dataset(config)
    pairs = dataset.pairs
    groups = _groups([image for image, _ in pairs])
    if len(groups) < 2:
        raise UserError(
            f'the training set has {len(pairs)} tiles, too few to split into a part to train on '
            'and one to score on: add tiles, or set --lists to two lists'
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    scored: set[int] = set()
    for group in order[:-1]:
        if len(scored) >= _SCORED_SHARE * len(pairs):
            break
        scored.update(groups[group])
    # Tiles without labels would cost time in every validation and not change a score.
    unlabelled = {i for i in scored if not dataset.get_cat_ids(i)}
    if unlabelled == scored:
        raise UserError(
            f'none of the {len(scored)} tiles to score on has labels: set --lists to two lists'
        )
    paths = folder / 'train.txt', folder / 'scored.txt'
    for path, is_scored in zip(paths, (False, True), strict=True):
        lines = (
            _line(pair, dataset.data_root)
            for i, pair in enumerate(pairs)
            if (i in scored) is is_scored and i not in unlabelled
        )
        write_text(path, ''.join(lines))
    return paths


def set_lists(config: Config, train: Path, scored: Path) -> None:
    """Make a config train on one list and validate on another list of its training set.

    Args:
        config: Config, modified in place.
        train: List to train on.
        scored: List to validate on.

    Raises:
        UserError: The config has several training sets, or no ``val_dataloader``.
    """
    leaves = list(leaf_datasets(config.train_dataloader))
    loader = config.get('val_dataloader')
    if len(leaves) > 1 or not loader:
        raise UserError('a selection requires a single training set and a val_dataloader')
    validation = next(leaf_datasets(loader))
    shared = {key: leaves[0][key] for key in leaves[0] if key not in ('pipeline', 'test_mode')}
    loader['dataset'] = {
        **shared,
        'pipeline': validation['pipeline'],
        'test_mode': True,
        'ann_file': os.path.abspath(scored),  # mmengine joins a relative one to the data root
    }
    leaves[0]['ann_file'] = os.path.abspath(train)


def check_leakage(config: Config, train: Path, scored: Path) -> None:
    """Check that the lists of a selection do not share tiles with each other or with the test set.

    Tiles of the validation set, and scenes with tiles in both lists, cause a warning, unless the
    validation list is the one to score on.

    Args:
        config: Config of a network on the user's data.
        train: List to train on.
        scored: List to score on.

    Raises:
        UserError: A tile is in two of the lists to train on, to score on and to test on.
    """
    probe = Config(config.to_dict())
    set_lists(probe, train, scored)
    images = {
        'train on': _images(_build_all(probe.train_dataloader)),
        'score on': _images(_build_all(probe.val_dataloader)),
        'train the winner on': _images(_build_all(config.train_dataloader)),
    }
    held_out = {
        name: _images(_build_all(config[key]))
        for name, key in (('validate', 'val_dataloader'), ('test', 'test_dataloader'))
        if config.get(key)
    }
    both = images['train on'] & images['score on']
    if both:
        raise UserError(
            f'{len(both)} tiles are in both lists of the selection (first {min(both)}): remove '
            'them from one list'
        )
    scores_on_validation = images['score on'] == held_out.get('validate')
    for name, used in images.items():
        for split, own in held_out.items():
            common = used & own
            if common and split == 'test':
                raise UserError(
                    f'{len(common)} tiles to {name} are also in the test list (first '
                    f'{min(common)}): remove them from one list'
                )
            if common and not scores_on_validation:
                warn(
                    f'{len(common)} tiles to {name} are also in the validation list: the '
                    "winner's validation score will be biased upwards"
                )
    scenes = [
        {place[0] for image in images[name] if (place := parse_tile_name(image))}
        for name in ('train on', 'score on')
    ]
    shared = scenes[0] & scenes[1]
    if shared and not scores_on_validation and len(scenes[0] | scenes[1]) >= _MIN_SCENES:
        warn(
            f'{len(shared)} scenes have tiles in both lists of the selection: scores will be '
            'higher than on unseen scenes'
        )


def _plain_dataset(config: Config) -> MultiBandSegDataset:
    leaves = list(leaf_datasets(config.train_dataloader))
    dataset = DATASETS.build(leaves[0])
    if len(leaves) > 1 or not isinstance(dataset, MultiBandSegDataset):
        raise UserError(
            'a selection requires a single MultiBandSegDataset (or a subclass) as training set: '
            'merge the lists of several'
        )
    return dataset


def _groups(images: list[str]) -> list[list[int]]:
    """Return groups of tile indices that must not be divided."""
    places = [parse_tile_name(image) for image in images]
    scenes: dict[str, list[int]] = {}
    for i, place in enumerate(places):
        if place is not None:
            scenes.setdefault(place[0], []).append(i)
    if all(places) and len(scenes) >= _MIN_SCENES:
        return list(scenes.values())
    run = min(_RUN, max(1, len(images) // 10))
    return [list(group) for _, group in groupby(range(len(images)), lambda i: i // run)]


def _build_all(loader: dict) -> list[Any]:
    """Build the data sets of a loader."""
    return [DATASETS.build(leaf) for leaf in leaf_datasets(loader)]


def _images(datasets: Iterable[Any]) -> set[str]:
    """Return the real paths of all images of some data sets."""
    return {os.path.realpath(image) for dataset in datasets for image, _ in dataset.pairs}


def _line(pair: tuple[str, str | None], root: str | None) -> str:
    return '\t'.join(_relative(name, root) for name in pair if name is not None) + '\n'


def _relative(name: str, root: str | None) -> str:
    array = parse_array_name(name)
    file = name if array is None else array.file
    if not root or not os.path.exists(file):
        return name
    relative = os.path.relpath(file, root)
    return relative if array is None else str(array._replace(file=relative))
