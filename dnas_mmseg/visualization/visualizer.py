"""mmseg visualizer for images with any number of bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.dist import master_only
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from dnas_mmseg.files import atomic_path

from .false_colour import apply_palette, false_colour

_LINE, _PATCH = 22, 14  # line height and patch size of the legend, in pixels
_FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.42


@VISUALIZERS.register_module()
class MultiBandLocalVisualizer(SegLocalVisualizer):
    """Visualise images with any number of bands and any dtype, their labels and predictions.

    Images are rendered in false colour: bands are selected by name (``dataset_meta['bands']``,
    which the Runner sets from the data set) and each is stretched between percentiles. Unlabelled
    pixels show the image; a legend lists the classes.

    Args:
        name: Name of the instance.
        percentiles: Percentiles of each band that are mapped to black and white.
        alpha: Opacity of the classes, 0 to 1.
        **kwargs: Arguments of :class:`mmseg.visualization.SegLocalVisualizer`.

    Attributes:
        last_image: Result of the last call, uint8 (H, W, 3). :meth:`get_image` renders it by
            matplotlib, which may shift it by a pixel.
    """

    dataset_meta: dict[str, Any]
    last_image: np.ndarray

    def __init__(
        self,
        name: str = 'visualizer',
        *args,
        percentiles: tuple[float, float] = (2, 98),
        alpha: float = 0.6,
        **kwargs,
    ) -> None:
        super().__init__(name, *args, alpha=alpha, **kwargs)
        self.percentiles = percentiles

    def set_dataset_meta(
        self,
        classes: Sequence[str] | None = None,
        palette: Sequence | None = None,
        dataset_name: str | None = None,
        bands: Sequence[str] = (),
    ) -> None:
        """Set the class names, their palette, and the band names of the images."""
        super().set_dataset_meta(classes, palette, dataset_name)
        # Only set in the main process.
        self.dataset_meta = {**(self.dataset_meta or {}), 'bands': tuple(bands)}

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool = True,
        with_image: bool = False,
    ) -> None:
        """Draw overlays of the label and the prediction side by side.

        Args:
            name: Name of the image.
            image: Image, (H, W, bands) of any dtype, bands in the order of
                ``dataset_meta['bands']``.
            data_sample: Sample with ``gt_sem_seg``, ``pred_sem_seg``, or both.
            draw_gt, draw_pred: Whether to draw the label, and the prediction.
            show: Whether to open a window instead of saving.
            wait_time: Time for which the window is open, in seconds; 0 waits for a key.
            out_file: Path of the output; by default the visualizer's backends save it.
            step: Training step, for the backends.
            with_labels: Whether to add a legend.
            with_image: Whether to add the image without overlay.
        """
        meta = self.dataset_meta
        rgb = false_colour(image, meta.get('bands', ()), self.percentiles)
        panels = [rgb] if with_image else []
        for wanted, key in ((draw_gt, 'gt_sem_seg'), (draw_pred, 'pred_sem_seg')):
            if wanted and data_sample is not None and key in data_sample:
                panels.append(self._overlay(rgb, data_sample.get(key).data[0].cpu().numpy()))
        picture = np.concatenate(panels or [rgb], axis=1)
        if with_labels and panels:
            picture = np.concatenate([picture, self._legend(picture.shape[1])])
        self.set_image(picture)
        self.last_image = picture
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        elif out_file is not None:
            with atomic_path(out_file) as temporary:
                mmcv.imwrite(picture[..., ::-1], str(temporary))
        else:
            self.add_image(name, picture, step)

    def _overlay(self, rgb: np.ndarray, ids: np.ndarray) -> np.ndarray:
        colours = apply_palette(ids.astype(np.uint8), self.dataset_meta['palette'])
        blended = (1 - self.alpha) * rgb + self.alpha * colours
        labelled = (ids < len(self.dataset_meta['classes']))[..., None]
        return np.where(labelled, blended, rgb).round().astype(np.uint8)

    def _legend(self, width: int) -> np.ndarray:
        """Return a legend with one or more lines of patches and names, uint8 (height, width, 3)."""
        x, y, positions = 4, 0, []
        for name in self.dataset_meta['classes']:
            needed = _PATCH + 12 + cv2.getTextSize(name, *_FONT, 1)[0][0]
            if x > 4 and x + needed > width:
                x, y = 4, y + _LINE
            positions.append((x, y))
            x += needed
        strip = np.full((y + _LINE, width, 3), 255, np.uint8)
        for (x, y), name, colour in zip(
            positions, self.dataset_meta['classes'], self.dataset_meta['palette'], strict=True
        ):
            corner = (x + _PATCH, y + 4 + _PATCH)
            cv2.rectangle(strip, (x, y + 4), corner, [int(c) for c in colour], -1)
            cv2.rectangle(strip, (x, y + 4), corner, (128, 128, 128), 1)
            cv2.putText(strip, name, (x + _PATCH + 4, y + 16), *_FONT, (0, 0, 0), 1, cv2.LINE_AA)
        return strip
