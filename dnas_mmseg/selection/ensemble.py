"""Ensemble of the finalists of a selection."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.engine.config_parts import merge_imports
from dnas_mmseg.evaluation import compute_scores, confusion_matrix
from dnas_mmseg.files import atomic_path
from dnas_mmseg.models import place

_TILES = 200
"""Largest number of scored tiles that are compared; the probabilities of all finalists on them are
held in memory."""


def predict_probabilities(config: Config, checkpoint: str) -> tuple[np.ndarray, np.ndarray]:
    """Predict the tiles of a validation set, evenly spaced ones if there are many.

    Args:
        config: Config of a training.
        checkpoint: Path of its checkpoint.

    Returns:
        Probabilities of the classes at labelled pixels, float16 (pixels, classes), and labels,
        (pixels,). The first column of a binary head is its threshold instead: the larger column is
        the predicted class.
    """
    model = MODELS.build(config.model)
    load_exactly(model, load_weights(checkpoint), checkpoint)
    place(model, get_device()).eval()
    dataset = DATASETS.build(config.val_dataloader.dataset)
    classes = len(dataset.metainfo['classes'])
    count = min(_TILES, len(dataset))
    probabilities, labels = [], []
    for index in np.linspace(0, len(dataset) - 1, count, dtype=int):
        sample = dataset[int(index)]
        with torch.no_grad():
            (result,) = model.test_step(pseudo_collate([sample]))
        output = result.seg_logits.data.float()
        if len(output) == 1:  # a binary head, of which mmseg returns probabilities, not logits
            limit: Any = model.decode_head.threshold
            mean = torch.cat([torch.full_like(output, limit), output])
        else:
            mean = output.softmax(0)
        label = sample['data_samples'].gt_sem_seg.data.squeeze(0).cpu().numpy()
        labelled = label < classes
        probabilities.append(mean.cpu().numpy()[:, labelled].T.astype(np.float16))
        labels.append(label[labelled])
    return np.concatenate(probabilities), np.concatenate(labels)


def select_members(
    probabilities: Sequence[np.ndarray], labels: np.ndarray, size: int
) -> tuple[list[int], float]:
    """Select the members of an ensemble greedily by mIoU.

    The first member is the best single one; each further one gives the highest score of the mean.
    Of these ensembles of growing size, the one with the highest score is returned.

    Args:
        probabilities: Probabilities of each candidate, (pixels, classes).
        labels: Labels, (pixels,).
        size: Largest number of members.

    Returns:
        Indices of the members, and the mIoU of their mean, in percent.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> first = np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])
        >>> second = np.array([[0.4, 0.6], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
        >>> select_members([first, second], labels, 2)
        ([0, 1], 100.0)
    """
    classes = probabilities[0].shape[1]
    total = np.zeros(probabilities[0].shape, np.float32)
    members: list[int] = []
    scores: list[float] = []
    while len(members) < min(size, len(probabilities)):
        found = {
            i: compute_scores(
                confusion_matrix(labels, (total + probabilities[i]).argmax(1), classes)
            )['mIoU']
            for i in range(len(probabilities))
            if i not in members
        }
        members.append(max(found, key=lambda i: found[i]))
        scores.append(found[members[-1]])
        total += probabilities[members[-1]]
    best = int(np.argmax(scores))
    return members[: best + 1], 100 * scores[best]


def ensemble_config(config: Config, configs: Sequence[Config]) -> Config:
    """Return a config that predicts with the mean of several models.

    Args:
        config: Config on the user's data.
        configs: Configs of the members.
    """
    result = copy.deepcopy(config)
    result.custom_imports = merge_imports(config, *configs)
    members = [copy.deepcopy(member.model) for member in configs]
    preprocessor = members[0].data_preprocessor
    settings = [member.pop('data_preprocessor') for member in members]
    divisors = [(s.get('test_cfg') or {}).get('size_divisor', 1) for s in settings]
    if max(divisors) > 1:
        preprocessor.test_cfg = dict(size_divisor=math.lcm(*divisors))
    result.model = dict(
        type='EnsembleSegmentor', members=members, data_preprocessor=preprocessor, test_cfg=None
    )
    return result


def merge_checkpoints(checkpoints: Sequence[str | Path], target: Path) -> None:
    """Write the weights of an ensemble from those of its members."""
    merged = {
        f'members.{i}.{name}': value
        for i, checkpoint in enumerate(checkpoints)
        for name, value in load_weights(str(checkpoint)).items()
        if not name.startswith('data_preprocessor.')
    }
    with atomic_path(target) as path:
        torch.save({'state_dict': merged, 'meta': {}}, path)
