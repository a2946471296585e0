"""Hook that visualises predictions during validation and testing."""

from __future__ import annotations

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from dnas_mmseg.datasets import TorchGeoDataset, dataset_parts
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import raster_stem, read_raster


@HOOKS.register_module()
class MultiBandVisualizationHook(Hook):
    """Visualise labels and predictions of some tiles with any number of bands.

    Use it with ``MultiBandLocalVisualizer``, whose backends save the images
    (``<work_dir>/<time>/vis_data/vis_image``, TensorBoard, ...). mmseg's ``SegVisualizationHook``
    decodes files with OpenCV, which is wrong for four bands and for uint16.

    Args:
        interval: Visualise a tile of every ``interval``-th batch, starting with the first one.
        number: Maximum number of tiles per validation or test, always the same ones; None
            visualises all tiles of these batches.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10, number: int | None = 8) -> None:
        self.interval, self.number = interval, number

    def before_run(self, runner: Runner) -> None:
        if not hasattr(runner.visualizer, 'percentiles'):
            raise UserError(
                'MultiBandVisualizationHook requires '
                "visualizer.type='MultiBandLocalVisualizer' in the config"
            )

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw(runner, batch_idx, outputs, 'val', runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        self._draw(runner, batch_idx, outputs, 'test', 0)

    def _draw(self, runner: Runner, batch_idx: int, outputs, mode: str, step: int) -> None:
        index, rest = divmod(batch_idx, self.interval)
        if rest or (self.number is not None and (index >= self.number or not is_main_process())):
            return
        for sample in outputs if self.number is None else outputs[:1]:
            loader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            image = _read_image(loader.dataset, sample.img_path).transpose(1, 2, 0)
            name = f'{mode}_{raster_stem(sample.img_path)}'
            runner.visualizer.add_datasample(name, image, sample, with_image=True, step=step)


def _read_image(dataset: object, path: str) -> np.ndarray:
    """Return all bands of a sample's image, (bands, H, W)."""
    for part in dataset_parts(dataset):
        image = part.read_image(path) if isinstance(part, TorchGeoDataset) else None
        if image is not None:
            return image
    return read_raster(path)
