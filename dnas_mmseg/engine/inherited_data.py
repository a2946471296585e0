"""Values of ``dataset.json`` in place of those that a config only inherits."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmengine.config import Config

from dnas_mmseg.bands import band_names
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.configs import (
    SPLITS,
    all_leaf_datasets,
    configured_metainfo,
    leaf_datasets,
)
from dnas_mmseg.datasets.transforms.loading import selected_bands


def adopt_description(config: Config, path: str | os.PathLike) -> list[str]:
    """Replace inherited settings that contradict ``dataset.json`` of the data root.

    A config inherits classes, bands, label convention, normalisation, and the sizes of the model
    that depend on them. If the data root describes other data, these values replace inherited ones;
    values that the config file sets itself are unchanged.

    Args:
        config: Loaded config, changed in place.
        path: Its file.

    Returns:
        Replaced settings, one line each; empty if nothing is replaced.
    """
    leaves = all_leaf_datasets(config)
    description = DatasetDescription.load(leaves[0].get('data_root')) if leaves else None
    bases = _base_paths(Path(path))
    if description is None or description == DatasetDescription() or not bases:
        return []
    base = Config.fromstring(f'_base_ = {bases!r}', '.py')
    notes: list[str] = []
    for split in SPLITS:
        pairs: Iterable[Any] = zip_longest(
            _split_leaves(config, split), _split_leaves(base, split), fillvalue={}
        )
        for leaf, inherited in pairs:
            _drop_inherited(leaf, inherited, description, notes)
    if 'model' in config and 'model' in base:
        before: Mapping[str, Any] = next(iter(all_leaf_datasets(base)), {})
        _adapt_model(config.model, base.model, leaves[0], before, description, notes)
    source = f'{leaves[0].get("data_root")}/dataset.json'
    return [f'{source} replaces inherited {note}' for note in dict.fromkeys(notes)]


def _split_leaves(config: Config, split: str) -> list[Any]:
    return list(leaf_datasets(config.get(f'{split}_dataloader')))


def _base_paths(path: Path) -> list[str]:
    """Return the configs that a Python config inherits, with absolute paths."""
    if path.suffix != '.py':
        return []
    folder = path.parent.resolve()
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'\{\{\s*fileDirname\s*\}\}', lambda _: folder.as_posix(), text)
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign):
            continue
        if any(isinstance(target, ast.Name) and target.id == '_base_' for target in node.targets):
            value = eval(compile(ast.Expression(node.value), str(path), 'eval'), {})  # as mmengine
            names = [value] if isinstance(value, str) else list(value)
            # mmengine resolves packages and variables of the environment.
            return [n if '::' in n or '{{' in n else str(folder / n) for n in names]
    return []


def _drop_inherited(
    leaf: dict, inherited: Mapping[str, Any], description: DatasetDescription, notes: list[str]
) -> None:
    """Remove inherited settings of a data set that ``dataset.json`` states otherwise."""
    described = {
        'label_convention': description.label_convention,
        'label_values': description.label_values,
    }
    if any(described.values()):
        for key, value in described.items():
            if leaf.get(key) and leaf[key] == inherited.get(key) and leaf[key] != value:
                notes.append(f'{key} = {leaf[key]!r}')
                del leaf[key]
    own, base = leaf.get('metainfo') or {}, inherited.get('metainfo') or {}
    for key in ('classes', 'bands', 'palette'):
        value = description.metainfo.get(key)
        if value and own.get(key) and own[key] == base.get(key) and _plain(own[key]) != value:
            notes.append(f'{key} {", ".join(map(str, own[key]))}')
            del own[key]


def _adapt_model(
    model: dict, base: Mapping[str, Any], leaf: dict, inherited_leaf: Mapping[str, Any],
    description: DatasetDescription, notes: list[str],
) -> None:  # fmt: skip
    """Set the sizes and the normalisation of a model that the data set determines."""
    metainfo = configured_metainfo(leaf)
    classes = metainfo.get('classes') or ()
    for name in ('decode_head', 'auxiliary_head'):
        for head, inherited in zip(_heads(model, name), _heads(base, name), strict=False):
            number = head.get('num_classes')
            if classes and number == inherited.get('num_classes') and number != len(classes):
                notes.append(f'num_classes = {number} of {name} by {len(classes)}')
                head['num_classes'] = len(classes)
    bands = band_names(metainfo.get('bands'))
    used = _used_bands(leaf, metainfo)
    if not used:
        return
    backbone, inherited = model.get('backbone') or {}, base.get('backbone') or {}
    pretrained, before = backbone.get('init_cfg') or {}, inherited.get('init_cfg') or {}
    # The normalisation belongs to the bands of the inherited data set, if it has any.
    before_leaf = {**inherited_leaf, 'data_root': None}  # perhaps of other data, on this machine
    known = _used_bands(before_leaf, configured_metainfo(before_leaf))
    other = bool(known) and known != used
    inherits_bands = pretrained.get('bands') and pretrained['bands'] == before.get('bands')
    if inherits_bands and band_names(pretrained['bands']) != used:
        other = True
        notes.append(f'bands {", ".join(pretrained["bands"])} of the backbone')
        pretrained['bands'] = used
    channels = backbone.get('in_channels')
    if channels is not None and channels == inherited.get('in_channels') and channels != len(used):
        notes.append(f'in_channels = {channels} by {len(used)}')
        backbone['in_channels'] = len(used)
        other = True
    if other and description.mean and set(used) <= set(bands):
        order = [bands.index(name) for name in used]
        for key in ('mean', 'std'):
            values, stored = getattr(description, key), model.get('data_preprocessor') or {}
            if key in stored and stored[key] == (base.get('data_preprocessor') or {}).get(key):
                notes.append(f'{key} of data_preprocessor')
                stored[key] = [values[i] for i in order]


def _used_bands(leaf: Mapping[str, Any], metainfo: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the bands that a data set's config or pipeline selects, or all of them."""
    selected = band_names(leaf.get('use_bands')) or selected_bands(leaf.get('pipeline') or ())
    return selected or band_names(metainfo.get('bands'))


def _heads(model: Mapping[str, Any], name: str) -> Sequence[Any]:
    heads = model.get(name) or []
    return heads if isinstance(heads, (list, tuple)) else [heads]


def _plain(value: Any) -> Any:
    """Return nested sequences as tuples."""
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value
