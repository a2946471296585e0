"""HTML page to look at a data set before training."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dnas_mmseg.classes import ClassScheme, default_palette
from dnas_mmseg.datasets.labels import LabelError, class_weights
from dnas_mmseg.datasets.near_duplicates import MAX_DISTANCE, find_near_duplicates
from dnas_mmseg.files import write_text
from dnas_mmseg.raster import GeoReference, RasterError
from dnas_mmseg.visualization.dataset_figures import (
    class_shares_figure,
    footprint_figure,
    histogram_figure,
)
from dnas_mmseg.visualization.false_colour import format_display_bands
from dnas_mmseg.visualization.html_page import (
    Alert,
    Card,
    Code,
    Columns,
    Details,
    Element,
    Gallery,
    Graphic,
    Heading,
    Legend,
    Note,
    Summary,
    Table,
    render_page,
)
from dnas_mmseg.visualization.pictures import (
    colour_text,
    data_uri,
    image_thumbnail,
    label_thumbnail,
)

from .dataset_report import DatasetReport, SplitReport, TileRecord
from .tile_choice import HIGH_INVALID, choose_tiles, constant_label_tiles, invalid_tiles

_SAMPLES, _SAMPLE_SIDE = 6, 256
"""Sample tiles per split, and the longer side of their pictures in pixels."""

_SUSPICIOUS, _THUMBNAIL_SIDE = 6, 128
"""Suspicious tiles of a kind with a picture, and the longer side of it in pixels."""

_LISTED = 200
"""Lines of a list; the page states how many more there are."""


def save_dataset_page(
    report: DatasetReport, path: str | os.PathLike, title: str = 'Data set', seed: int = 0
) -> Path:
    """Write a self-contained HTML page on a data set.

    The page contains the findings of the check, sample tiles of each split, class shares,
    histograms per band, suspicious tiles, a map of the splits and the config snippet. Only the
    tiles with a picture are read again.

    Args:
        report: Report of :func:`dnas_mmseg.engine.dataset_report.check_dataset` with ``details``.
        path: Path of the page.
        title: Title of the page.
        seed: Seed of the choice of sample tiles.

    Returns:
        Path of the page.

    Example:
        >>> config = load_config('config.py')  # doctest: +SKIP
        >>> report = check_dataset(config, details=True)  # doctest: +SKIP
        >>> save_dataset_page(report, 'check.html')  # doctest: +SKIP
        PosixPath('check.html')
    """
    elements: list[Element] = _findings(report)
    if report.splits:
        classes = _classes(report.splits[0])
        elements += [
            *_samples(report, classes, seed),
            *_class_shares(report),
            *_histograms(report),
            *_suspicious(report, classes),
            *_map(report),
            Heading('Config'),
            Note(f'Statistics of the split {report.splits[0].name}.'),
            Code(report.splits[0].config_text()),
        ]
    write_text(path, render_page(title, elements))
    return Path(path)


def _classes(split: SplitReport) -> ClassScheme:
    """Return names and colours of the classes of the files."""
    part = split.parts[0]
    names, palette = part.file_classes, part.file_palette
    if len(palette) != len(names):
        palette = default_palette(len(names))
    return ClassScheme.from_metainfo({'classes': names, 'palette': palette})


def _findings(report: DatasetReport) -> list[Element]:
    """Return the summary and all problems, warnings and notes."""
    problems = [(split.name, text) for split in report.splits for text in split.problems]
    problems += [('all', text) for text in report.problems]
    warnings = [(split.name, text) for split in report.splits for text in split.warnings]
    warnings += [('all', text) for text in report.warnings]
    notes = [(split.name, text) for split in report.splits for text in split.summary.notes]
    pairs = ', '.join(f'{split.name} {split.summary.files:,}' for split in report.splits)
    verdict = (
        f'Problems: {len(problems)}. Correct them before training.'
        if problems
        else 'No problem found.'
    )
    counts = f'Warnings: {len(warnings)}, notes: {len(notes)}. Pairs of image and label: {pairs}.'
    elements: list[Element] = [Summary([verdict, counts])]
    elements += [Alert(f'{split}: {text}') for split, text in problems[:_LISTED]]
    if len(problems) > _LISTED:
        elements.append(Note(f'... and {len(problems) - _LISTED} more problems.'))
    rows = [('warning', *row) for row in warnings] + [('note', *row) for row in notes]
    if rows:
        elements += [Heading('Warnings and notes'), Table(('finding', 'split', 'text'), rows)]
    sizes = [
        (
            split.name,
            f'{split.summary.files:,}',
            ', '.join(f'{h} x {w} ({n:,})' for (h, w), n in split.summary.sizes.items()),
            ', '.join(split.summary.dtypes),
            f'{100 * split.summary.invalid:.2f} %',
            f'{100 * split.summary.unlabelled:.2f} %',
        )
        for split in report.splits
    ]
    headings = ('split', 'pairs', 'sizes (pairs)', 'type', 'invalid', 'unlabelled')
    return [*elements, Heading('Files'), Table(headings, sizes)]


def _samples(report: DatasetReport, classes: ClassScheme, seed: int) -> list[Element]:
    """Return sample tiles of each split."""
    expected = report.splits[0].parts[0].expected
    shown = format_display_bands(expected.used or expected.bands)
    elements: list[Element] = [
        Heading('Sample tiles'),
        Note(
            f'Random tiles that together show every class of their split. Left: image{shown}, '
            'stretched per tile. Right: label.'
        ),
        Legend(
            [
                *((name, colour_text(colour)) for name, colour in classes),
                ('unlabelled', '#000000'),
            ]
        ),
    ]
    for split in report.splits:
        tiles = choose_tiles(split.tiles, _SAMPLES, seed)
        cards = [_card(tile, classes, _SAMPLE_SIDE, _main_classes(tile, classes)) for tile in tiles]
        elements += [Heading(split.name, 3), Gallery(cards)]
    return elements


def _main_classes(tile: TileRecord, classes: ClassScheme) -> str:
    """Return the shares of the most frequent classes of a tile."""
    if tile.class_pixels is None or not tile.class_pixels.any():
        return 'no labelled pixel'
    shares = 100 * tile.class_pixels / tile.class_pixels.sum()
    order = [i for i in np.argsort(-shares)[:4] if shares[i]]
    return ', '.join(f'{classes.names[i]} {shares[i]:.3g} %' for i in order)


def _card(tile: TileRecord, classes: ClassScheme, side: int, text: str) -> Card:
    """Return a tile's image next to its label."""
    pictures = []
    try:
        picture = image_thumbnail(tile.image, tile.expected, side)
        pictures.append(('image', data_uri(picture)))
        if tile.label is not None:
            picture = label_thumbnail(tile.label, tile.expected, classes, side)
            pictures.append(('label', data_uri(picture, lossless=True)))
    except (RasterError, LabelError) as error:
        text = f'{text}; {error}'
    return Card(pictures, tile.image, text)


def _class_shares(report: DatasetReport) -> list[Element]:
    """Return a figure and a table of the classes' shares by split."""
    names = report.splits[0].parts[0].file_classes
    shares = {split.name: split.class_shares for split in report.splits}
    headings = ['class']
    columns: list[Sequence[str]] = [names]
    for split in report.splits:
        labelled = [tile.class_pixels for tile in split.tiles if tile.class_pixels is not None]
        tiles = np.count_nonzero(labelled, axis=0) if labelled else np.zeros(len(names), int)
        headings += [f'{split.name}, %', f'{split.name}, tiles']
        columns += [
            [f'{100 * share:.2f}' for share in shares[split.name]],
            [f'{count:,}' for count in tiles],
        ]
    headings.append('weight')
    columns.append([f'{weight:g}' for weight in class_weights(report.splits[0].class_shares)])
    return [
        Heading('Class shares'),
        Note(
            'Shares of the labelled pixels; tiles that contain the class; weight: median share / '
            f'share on {report.splits[0].name}.'
        ),
        Columns([Graphic(class_shares_figure(names, shares), 'Class shares by split')]),
        Table(headings, list(zip(*columns, strict=True))),
    ]


def _histograms(report: DatasetReport) -> list[Element]:
    """Return a histogram per band with a line per split."""
    counted = {s.name: s.histogram for s in report.splits if s.histogram is not None}
    if report.bins is None or not counted:
        return []
    bands = report.splits[0].parts[0].used_bands
    figures = []
    for band in range(len(report.bins.low)):
        name = bands[band] if len(bands) == len(report.bins.low) else f'band {band + 1}'
        counts = {split: histogram[band] for split, histogram in counted.items()}
        figures.append(Graphic(histogram_figure(report.bins.edges(band), counts), name))
    return [
        Heading('Histograms'),
        Note(
            'Share of the valid pixels per bin, 64 bins per band. For types other than uint8, the '
            'range is that of a sample of the files; samples beyond it are in the outer bins.'
        ),
        Columns(figures),
    ]


def _suspicious(report: DatasetReport, classes: ClassScheme) -> list[Element]:
    """Return the suspicious tiles of each kind."""
    tiles = [tile for split in report.splits for tile in split.tiles]
    pairs = find_near_duplicates((tile.split, tile.similarity) for tile in tiles)
    elements: list[Element] = [Heading('Suspicious tiles')]
    elements += _suspicious_kind(
        'Labels of a single class, or without any', constant_label_tiles(tiles), classes,
        lambda tile: f'{tile.split}: {_main_classes(tile, classes)}', len(tiles),
    )  # fmt: skip
    elements += _suspicious_kind(
        f'At least {HIGH_INVALID:.0%} of the pixels invalid', invalid_tiles(tiles), classes,
        lambda tile: f'{tile.split}: {100 * tile.invalid:.1f} % invalid', len(tiles),
    )  # fmt: skip
    elements.append(Heading('Similar tiles in different splits', 3))
    elements.append(
        Note(
            f'{len(pairs):,} pairs of tiles whose difference hashes of 64 bits (mean over the '
            f'bands on a grid of 8 x 9 cells) differ in at most {MAX_DISTANCE} bits. The hash '
            'changes little with brightness, noise and compression; it does not detect flipped, '
            'rotated or shifted copies. Mostly constant images are not compared.'
        )
    )
    cards: list[Card] = []
    rows: list[tuple[object, ...]] = []
    for pair in pairs[:_LISTED]:
        one, other = tiles[pair.first], tiles[pair.second]
        rows.append((one.split, one.image, other.split, other.image, pair.distance))
        if len(cards) < _SUSPICIOUS:
            cards.append(_pair_card(one, other, pair.distance))
    if cards:
        elements.append(Gallery(cards))
    if len(rows) > len(cards):
        table = Table(('split', 'tile', 'split', 'tile', 'different bits'), rows)
        elements.append(Details(_list_title(len(pairs)), [table]))
    return elements


def _suspicious_kind(
    title: str,
    tiles: Sequence[TileRecord],
    classes: ClassScheme,
    describe: Callable[[TileRecord], str],
    total: int,
) -> list[Element]:
    """Return thumbnails of the first tiles of a kind, and a list of all."""
    elements: list[Element] = [
        Heading(title, 3),
        Note(f'{len(tiles):,} of {total:,} tiles.'),
    ]
    shown = [_card(t, classes, _THUMBNAIL_SIDE, describe(t)) for t in tiles[:_SUSPICIOUS]]
    if shown:
        elements.append(Gallery(shown))
    if len(tiles) > len(shown):
        rows = [(tile.image, describe(tile)) for tile in tiles[:_LISTED]]
        elements.append(Details(_list_title(len(tiles)), [Table(('tile', 'finding'), rows)]))
    return elements


def _list_title(number: int) -> str:
    return 'List' if number <= _LISTED else f'List of the first {_LISTED} of {number:,}'


def _pair_card(one: TileRecord, other: TileRecord, distance: int) -> Card:
    """Return the images of two similar tiles."""
    pictures = []
    for tile in (one, other):
        try:
            picture = image_thumbnail(tile.image, tile.expected, _THUMBNAIL_SIDE)
            pictures.append((tile.split, data_uri(picture)))
        except RasterError:
            continue
    text = f'{one.split} and {other.split}, different bits: {distance}'
    return Card(pictures, f'{one.image} and {other.image}', text)


def _map(report: DatasetReport) -> list[Element]:
    """Return a map of the splits from the georeferences of the tiles."""
    located = _footprints([tile for split in report.splits for tile in split.tiles])
    total = sum(len(split.tiles) for split in report.splits)
    heading = Heading('Map of the splits')
    if not located:
        return [heading, Note('No map: the tiles have no georeference.')]
    found = sum(map(len, located.values()))
    return [
        heading,
        Note(f'Footprints of {found:,} of {total:,} tiles, WGS 84.'),
        Columns([Graphic(footprint_figure(located), 'Footprints by split')]),
    ]


def _footprints(tiles: Sequence[TileRecord]) -> dict[str, np.ndarray]:
    """Return the corners of the tiles in WGS 84 degrees by split, (tiles, 4, 2)."""
    by_crs: dict[str, list[TileRecord]] = defaultdict(list)
    for tile in tiles:
        if tile.crs:
            by_crs[tile.crs].append(tile)
    found: dict[str, list[np.ndarray]] = {tile.split: [] for tile in tiles}
    for crs, group in by_crs.items():
        # With this geotransform, the pixels of a raster are coordinates of the CRS.
        identity = GeoReference(crs, transform=(0, 1, 0, 0, 0, 1))
        points = identity.to_lonlat(corner for tile in group for corner in tile.corners)
        if points is not None:
            for tile, corners in zip(group, np.reshape(points, (-1, 4, 2)), strict=True):
                found[tile.split].append(corners)
    return {split: np.array(corners) for split, corners in found.items() if corners}
