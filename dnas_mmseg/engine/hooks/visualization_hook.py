"""Pictures of predictions while a model is validated or tested."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import read_raster


@HOOKS.register_module()
class MultiBandVisualizationHook(Hook):
    """Draw labels and predictions of some tiles, of any bands, by the runner's visualizer.

    The stock hook decodes files with OpenCV before the visualizer is asked, which is wrong for four
    bands and for uint16. The config's visualizer should be ``MultiBandLocalVisualizer``; pictures
    go where its backends put them (``<work_dir>/<time>/vis_data/vis_image``, TensorBoard, ...).

    Args:
        interval: Number of batches from one drawn tile to the next, beginning with the first batch.
        number: Largest number of tiles in a validation or test, the same ones every time; None for
            all.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10, number: int | None = 8) -> None:
        self.interval, self.number = interval, number

    def before_run(self, runner: Runner) -> None:
        if not hasattr(runner.visualizer, 'percentiles'):
            raise UserError(
                "MultiBandVisualizationHook draws by the config's visualizer: give it "
                "visualizer.type='MultiBandLocalVisualizer'"
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
            image = read_raster(sample.img_path).transpose(1, 2, 0)
            runner.visualizer.add_datasample(
                f'{mode}_{Path(sample.img_path).stem}', image, sample, with_image=True, step=step
            )
