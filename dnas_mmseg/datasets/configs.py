"""Configs of data sets: those below wrappers, and the metainfo that they state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import DATASETS

from .description import DatasetDescription


def leaf_datasets(loader: dict | None) -> Iterator[dict]:
    """Yield the configs of a loader's data sets, behind all wrappers (Concat, Repeat, ...)."""
    if loader is None:
        return
    children = loader.get('datasets') or loader.get('dataset')
    if children is None:
        yield loader
        return
    for child in children if isinstance(children, (list, tuple)) else (children,):
        yield from leaf_datasets(child)


def configured_metainfo(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metainfo of a data set as far as its config states it, without reading its lists.

    Args:
        dataset: Config of a data set, no wrapper.

    Returns:
        Metainfo of its class, of ``dataset.json`` in its data root, and of the config, the later
        ones over the earlier ones.
    """
    kind = dataset.get('type')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    described = DatasetDescription.load(dataset.get('data_root')).metainfo
    return {**getattr(cls, 'METAINFO', {}), **described, **dataset.get('metainfo', {})}
