"""Parts of the training list that a selection trains on and scores on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.engine.configs import leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text

_SCORED = 0.2
"""Share of the tiles that candidates are scored on."""

_FEW_SCENES = 5
"""Scenes below which tiles are split by runs of neighbours instead."""

_RUN = 8
"""Tiles that follow each other in a list, and stay on one side, where scenes do not decide."""


def selection_lists(config: Config, seed: int, folder: Path) -> tuple[Path, Path]:
    """Split the training list of a config, and write the two lists.

    Scenes stay whole where there are five or more of them (tiles named
    ``<scene>_<row>_<column>``); else runs of tiles that follow each other in the list do, since
    neighbours in a list often are neighbours on the ground.

    Args:
        config: Config of a network on the user's data.
        seed: Seed of the split.
        folder: Folder to write to.

    Returns:
        Paths of the lists to train on and to score on.

    Raises:
        UserError: The training set is not a plain list, or too small to be split.
    """
    dataset = _plain_dataset(config)
    pairs = dataset.pairs
    groups = _groups([image for image, _ in pairs])
    if len(groups) < 2:
        raise UserError(
            f'{len(pairs)} tiles to train on cannot be split into a part to train on and one to '
            'score on: give more, or --halves with two lists'
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    scored: set[int] = set()
    for group in order[:-1]:
        if len(scored) >= _SCORED * len(pairs):
            break
        scored.update(groups[group])
    # A tile without a label counts nowhere, and would be computed in every validation.
    blank = {i for i in scored if not dataset.get_cat_ids(i)}
    if blank == scored:
        raise UserError(
            f'none of the {len(scored)} tiles to score on has a label: give --halves with two lists'
        )
    paths = folder / 'train.txt', folder / 'scored.txt'
    for path, wanted in zip(paths, (False, True), strict=True):
        lines = (
            '\t'.join(_relative(name, dataset.data_root) for name in pair if name is not None)
            for i, pair in enumerate(pairs)
            if (i in scored) is wanted and i not in blank
        )
        write_text(path, ''.join(f'{line}\n' for line in lines))
    return paths


def set_lists(config: Config, train: Path, scored: Path) -> None:
    """Make a config train on one list and validate on another, both of its training set.

    Args:
        config: Config that is changed in place.
        train: List to train on.
        scored: List to validate on.

    Raises:
        UserError: The training set is no plain one, or there is no validation.
    """
    leaves = list(leaf_datasets(config.train_dataloader))
    loader = config.get('val_dataloader')
    if len(leaves) > 1 or not loader:
        raise UserError('a selection needs one training set, not several, and a val_dataloader')
    validated = next(leaf_datasets(loader))
    own = {key: leaves[0][key] for key in leaves[0] if key not in ('pipeline', 'test_mode')}
    loader['dataset'] = {
        **own,
        'pipeline': validated['pipeline'],
        'test_mode': True,
        'ann_file': os.path.abspath(scored),  # a relative one would be below the data root
    }
    leaves[0]['ann_file'] = os.path.abspath(train)


def check_leakage(config: Config, train: Path, scored: Path) -> None:
    """Look for tiles that a selection must not see, or that are on both sides.

    Args:
        config: Config of a network on the user's data, as the user gave it.
        train: List that candidates are trained on.
        scored: List that they are scored on.

    Raises:
        UserError: A tile is in two of the lists to train on, to score on and to test on.
    """
    probe = Config(config.to_dict())
    set_lists(probe, train, scored)
    images = {
        'train on': _images(probe.train_dataloader),
        'score on': _images(probe.val_dataloader),
    }
    kept_out = {
        name: _images(config[key])
        for name, key in (('validate', 'val_dataloader'), ('test', 'test_dataloader'))
        if config.get(key)
    }
    both = images['train on'] & images['score on']
    if both:
        raise UserError(
            f'{len(both)} tiles are in both lists of the selection, {min(both)} for instance: it '
            'would choose what has learnt its tiles by heart'
        )
    for name, seen in images.items():
        for other, own in kept_out.items():
            common = seen & own
            if common and other == 'test':
                raise UserError(
                    f'{len(common)} tiles to {name} are in the test list, too, {min(common)} for '
                    'instance: its score would say nothing'
                )
            if common:
                warn(
                    f'{len(common)} tiles to {name} are in the validation list, too: the '
                    "winner's validation score will be too good"
                )
    scenes = [{place[0] for i in part if (place := parse_tile_name(i))} for part in images.values()]
    shared = scenes[0] & scenes[1]
    if shared and len(scenes[0] | scenes[1]) >= _FEW_SCENES:
        warn(
            f'{len(shared)} scenes have tiles on both sides of the selection: scores will be '
            'better than on new scenes'
        )


def _plain_dataset(config: Config) -> MultiBandSegDataset:
    leaves = list(leaf_datasets(config.train_dataloader))
    dataset = DATASETS.build(leaves[0])
    if len(leaves) > 1 or not isinstance(dataset, MultiBandSegDataset):
        raise UserError(
            'the training set of a selection is one MultiBandSegDataset (or a subclass): join the '
            'lists of several'
        )
    return dataset


def _groups(images: list[str]) -> list[list[int]]:
    """Return the indices of tiles that stay together."""
    places = [parse_tile_name(image) for image in images]
    scenes: dict[str, list[int]] = {}
    for i, place in enumerate(places):
        if place is not None:
            scenes.setdefault(place[0], []).append(i)
    if all(places) and len(scenes) >= _FEW_SCENES:
        return list(scenes.values())
    run = min(_RUN, max(1, len(images) // 10))
    return [list(group) for _, group in groupby(range(len(images)), lambda i: i // run)]


def _images(loader: dict) -> set[str]:
    datasets: Iterable = (DATASETS.build(leaf) for leaf in leaf_datasets(loader))
    return {os.path.realpath(image) for dataset in datasets for image, _ in dataset.pairs}


def _relative(name: str, root: str | None) -> str:
    return os.path.relpath(name, root) if root and os.path.exists(name) else name
