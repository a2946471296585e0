"""Choice of the tiles of a data set to look at: samples of all classes, and suspicious ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dataset_report import TileRecord

_VISIBLE = 0.01
"""Share of a tile's pixels from which a class is easily seen in a picture."""

HIGH_INVALID = 0.5
"""Share of invalid pixels from which a tile is suspicious."""


def choose_tiles(tiles: Sequence[TileRecord], number: int, seed: int = 0) -> list[TileRecord]:
    """Choose tiles at random that together show all classes.

    Of the tiles in random order, the one with most classes that are still missing comes next. A
    class counts as shown from 1 % of a tile's pixels, or at all if no tile has as many. Random
    tiles follow once every class is shown.

    Args:
        tiles: Tiles of a split.
        number: Number of tiles; more if the classes require it.
        seed: Seed of the random order.

    Returns:
        Chosen tiles, without repetition.
    """
    order = np.random.default_rng(seed).permutation(len(tiles))
    places: list[int] = []
    labelled = [i for i in order if tiles[i].class_pixels is not None]
    if labelled:
        pixels = np.array([tiles[i].class_pixels for i in labelled])
        sizes = np.array([max(tiles[i].pixels, 1) for i in labelled])
        missing = pixels.any(0)
        for least in (_VISIBLE * sizes, np.ones(len(sizes))):
            shown = pixels >= least[:, None]
            missing &= ~shown[places].any(0)
            while (news := shown[:, missing].sum(1)).any():
                best = int(news.argmax())
                places.append(best)
                missing &= ~shown[best]
    chosen = [labelled[place] for place in places]
    rest = [i for i in order if i not in chosen]
    return [tiles[i] for i in [*chosen, *rest[: max(0, number - len(chosen))]]]


def constant_label_tiles(tiles: Sequence[TileRecord]) -> list[TileRecord]:
    """Return the labelled tiles whose valid pixels are all of one class, or all unlabelled."""
    found = []
    for tile in tiles:
        if tile.class_pixels is not None and tile.pixels:
            labelled = tile.class_pixels.sum()
            if labelled == 0 or tile.class_pixels.max() == tile.pixels:
                found.append(tile)
    return found


def invalid_tiles(tiles: Sequence[TileRecord]) -> list[TileRecord]:
    """Return the tiles with at least half of their pixels invalid, the worst first."""
    found = [tile for tile in tiles if tile.invalid >= HIGH_INVALID]
    return sorted(found, key=lambda tile: -tile.invalid)
