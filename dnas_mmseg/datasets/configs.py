"""Configs of data sets: those below wrappers, and the metainfo that they state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import DATASETS

from dnas_mmseg.bands import band_names

from .description import DatasetDescription
from .labels import resolve_label_values
from .multi_band import MultiBandSegDataset

SPLITS = ('train', 'val', 'test')
"""Splits of a config, each with a ``<split>_dataloader``."""


def leaf_datasets(loader: dict | None) -> Iterator[dict]:
    """Yield the configs of a loader's data sets, behind all wrappers (Concat, Repeat, ...)."""
    if loader is None:
        return
    children = loader.get('datasets') or loader.get('dataset')
    if not isinstance(children, (Mapping, list, tuple)):  # a TorchGeoDataset has a name there
        yield loader
        return
    for child in children if isinstance(children, (list, tuple)) else (children,):
        yield from leaf_datasets(child)


def all_leaf_datasets(config: Mapping[str, Any]) -> list[dict]:
    """Return the configs of the data sets of all splits, behind all wrappers."""
    loaders = (config.get(f'{split}_dataloader') for split in SPLITS)
    return [leaf for loader in loaders for leaf in leaf_datasets(loader)]


def configured_metainfo(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metainfo of a data set as far as its config states it, without reading its lists.

    Args:
        dataset: Config of a data set, no wrapper.

    Returns:
        Metainfo of its class, of ``dataset.json`` in its data root (of ``MultiBandSegDataset``
        only), and of the config, the later ones over the earlier ones. Classes that the config
        selects keep their colours.
    """
    kind = dataset.get('type')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    base: dict[str, Any] = dict(getattr(cls, 'METAINFO', {}))
    if isinstance(cls, type) and issubclass(cls, MultiBandSegDataset):
        base |= DatasetDescription.load(dataset.get('data_root')).metainfo
    own = dict(dataset.get('metainfo') or {})
    values = dataset.get('label_values')
    if isinstance(values, Mapping):
        own['classes'] = resolve_label_values(values, own.get('classes') or ())[0]
    if dataset.get('use_bands'):
        own['use_bands'] = band_names(dataset['use_bands'])
    merged = {**base, **own}
    if own.get('classes') and not own.get('palette') and base.get('palette'):
        colours = dict(zip(base.get('classes', ()), base['palette'], strict=False))
        if set(own['classes']) <= set(colours):
            merged['palette'] = tuple(colours[name] for name in own['classes'])
        else:
            del merged['palette']
    return merged
