"""Pictures of the samples of a config."""

from __future__ import annotations

import os

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.errors import UserError
from dnas_mmseg.visualization.samples import SamplePictures, draw_samples

from .config_validation import validate_config
from .configs import load_config


def browse(
    config: Config | str | os.PathLike, split: str = 'train', number: int = 8
) -> SamplePictures:
    """Draw tiles with their labels, as the pipeline of a split loads and augments them.

    Args:
        config: Config, or its path as in :func:`dnas_mmseg.engine.configs.load_config`.
        split: ``'train'``, ``'val'`` or ``'test'``.
        number: Number of samples, the first ones of the list.

    Returns:
        Pictures, which a notebook displays and :meth:`~SamplePictures.save` writes.

    Raises:
        UserError: The config has no such split or an invalid data set, or ``number`` is not
            positive.

    Example:
        >>> pictures = browse('config.py', number=2)  # doctest: +SKIP
        >>> pictures.save('pictures')  # doctest: +SKIP
        [PosixPath('pictures/a_0_0.png'), PosixPath('pictures/a_0_512.png')]
    """
    if number < 1:
        raise UserError(f'number = {number} samples: expected at least 1')
    if not isinstance(config, Config):
        config = load_config(config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    settings = (config.get(f'{split}_dataloader') or {}).get('dataset')
    if settings is None:
        raise UserError(f"the config has no {split}_dataloader: choose 'train', 'val' or 'test'")
    validate_config(config, f'{split}_dataloader')
    return draw_samples(DATASETS.build(settings), number)
