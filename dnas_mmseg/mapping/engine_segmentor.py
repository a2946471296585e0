"""Adapter from exported models to the segmentor interface of mmengine."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData

from .exported import ExportedModel


class EngineSegmentor(BaseModel):
    """Wrap an exported model as a segmentor for mmengine loops and mmseg inferencers.

    Args:
        engine: The exported model.

    Attributes:
        dataset_meta: Classes, palette and bands.
        threshold: Threshold of a binary head; None for heads with one logit per class.
    """

    def __init__(self, engine: ExportedModel) -> None:
        super().__init__()
        self.engine = engine
        self.dataset_meta, self.threshold = engine.dataset_meta, engine.threshold

    def __deepcopy__(self, memo: dict) -> EngineSegmentor:
        """Return the model itself: the Runner copies its config, but engines cannot be copied."""
        return self

    def __repr__(self) -> str:
        """Return a Python expression: the Runner logs its config as Python code."""
        return f'EngineSegmentor({type(self.engine).__name__!r})'

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Raise NotImplementedError: exported models support prediction only."""
        raise NotImplementedError('exported models support test_step and val_step only')

    @torch.no_grad()
    def test_step(self, data: dict | tuple | list) -> list:
        """Predict a batch.

        Args:
            data: Dictionary with ``inputs``, images (bands, H, W) of any size, and
                ``data_samples``.

        Returns:
            The samples with ``pred_sem_seg``, int64 (1, H, W), and ``seg_logits``, both at the
            image's size before the pipeline.
        """
        assert isinstance(data, dict)
        samples = data['data_samples']
        for image, sample in zip(data['inputs'], samples, strict=True):
            logits = torch.from_numpy(self.engine.logits([image.float().cpu()]))
            shape = tuple(sample.ori_shape[:2])
            if tuple(logits.shape[2:]) != shape:
                logits = torch.nn.functional.interpolate(logits, shape, mode='bilinear')
            if self.threshold is None:
                classes = logits[0].argmax(0, keepdim=True)
            else:
                classes = (logits[0].sigmoid() > self.threshold).long()
            sample.set_data(
                {
                    'pred_sem_seg': PixelData(data=classes),
                    'seg_logits': PixelData(data=logits[0]),
                }
            )
        return samples

    def val_step(self, data: dict | tuple | list) -> list:
        """Predict a batch, as :meth:`test_step` does."""
        return self.test_step(data)
