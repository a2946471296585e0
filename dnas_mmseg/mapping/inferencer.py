"""mmseg's inferencer for images of any bands."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmseg.apis import MMSegInferencer
from mmseg.registry import TRANSFORMS

from dnas_mmseg.bands import choose_bands
from dnas_mmseg.engine.checkpoints import load_exactly
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.preparation.scenes import RASTERS
from dnas_mmseg.raster import Raster, raster_stem
from dnas_mmseg.visualization import MultiBandLocalVisualizer

from .engine_segmentor import EngineSegmentor
from .openvino_model import EnginePrecision, OpenVINOModel
from .scenes import model_facts

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_LOADING = ('LoadRasterFromFile', 'SelectBands', 'LoadRasterAnnotations')


class MultiBandInferencer(MMSegInferencer):
    """:class:`mmseg.apis.MMSegInferencer` for images of any number of bands and any sample type.

    The stock one decodes files with OpenCV. The arguments and results are those of the stock one::

        inferencer = MultiBandInferencer('config.py', 'best.pth', device='cpu')
        result = inferencer('tile.tif', out_dir='out')  # out/vis/tile.png, out/pred/...

    Inputs are paths, a folder of rasters, or arrays (H, W, bands). Bands of files are taken by name
    where the file names them; else, and in arrays, they are those of the model, in its order.
    Classes, palette and bands come from the checkpoint, else from the config.

    Args:
        model: Config or its path; None where the checkpoint holds its config.
        weights: Path of a checkpoint of exactly this model.
        classes, palette, dataset_name, device, scope: Arguments of
            :class:`mmseg.apis.MMSegInferencer`.
        backend: Engine that runs the model.
        precision: Precision of OpenVINO's arithmetic.
        window: Side of the largest image that OpenVINO takes, in pixels.
        **kwargs: Further arguments of that class; ``show_progress`` where mmseg has it.

    Raises:
        CheckpointError: The checkpoint is of another network.
        UserError: An image lacks a band.
    """

    model: Any

    def __init__(
        self,
        model: Config | str | os.PathLike | None,
        weights: str | os.PathLike | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence | None = None,
        dataset_name: str | None = None,
        device: str | None = None,
        scope: str | None = 'mmseg',
        backend: Literal['torch', 'openvino'] = 'torch',
        precision: EnginePrecision = 'float32',
        window: int = 512,
        **kwargs,
    ) -> None:
        super().__init__(
            os.fspath(model) if isinstance(model, os.PathLike) else model,
            weights if weights is None else os.fspath(weights),
            classes,
            palette,
            dataset_name,
            device,
            scope,
            **kwargs,
        )
        self.model = switch_to_deploy(self.model)
        if backend == 'openvino':
            engine = OpenVINOModel.from_segmentor(self.model, window, precision)
            self.model = EngineSegmentor(engine)
        elif backend != 'torch':
            raise UserError(f'backend {backend!r}: there are torch and openvino')
        given = {'classes': classes, 'palette': palette}
        self.model.dataset_meta.update({key: value for key, value in given.items() if value})

    def visualize(
        self,
        inputs: list,
        preds: list,
        return_vis: bool = False,
        show: bool = False,
        wait_time: int = 0,
        img_out_dir: str = '',
        opacity: float = 0.6,
        with_labels: bool = True,
    ) -> list[np.ndarray] | None:
        """Draw predictions over the images; see :class:`mmseg.apis.MMSegInferencer`."""
        if not (return_vis or show or img_out_dir):
            return None
        self.visualizer.alpha = opacity
        pictures = []
        for given, prediction in zip(inputs, preds, strict=True):
            if isinstance(given, np.ndarray):
                image, bands = given, self.model.dataset_meta['bands']
                name = f'{self.num_visualized_imgs:08d}_vis'
            else:
                results = self._load(given)
                image, bands, name = results['img'], results['bands'], raster_stem(given)
            facts = {key: self.model.dataset_meta[key] for key in ('classes', 'palette')}
            self.visualizer.set_dataset_meta(**facts, bands=bands)
            self.visualizer.add_datasample(
                name,
                image,
                prediction,
                draw_gt=False,
                show=show,
                wait_time=wait_time,
                out_file=os.path.join(img_out_dir, f'{name}.png') if img_out_dir else None,
                with_labels=with_labels,
            )
            pictures.append(self.visualizer.last_image)
            self.num_visualized_imgs += 1
        return pictures if return_vis else None

    def _inputs_to_list(self, inputs) -> list:
        if isinstance(inputs, (str, os.PathLike)) and os.path.isdir(inputs):
            rasters = sorted(Path(inputs).iterdir())
            inputs = [path for path in rasters if path.suffix.lower() in RASTERS]
            if not inputs:
                raise UserError('the folder holds no rasters')
        if not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        return [os.fspath(i) if isinstance(i, os.PathLike) else i for i in inputs]

    def _load_weights_to_model(
        self, model: BaseSegmentor, checkpoint: dict | None, cfg: Config
    ) -> None:
        meta: dict[str, Any] = {}
        if checkpoint is not None:
            weights = checkpoint.get('state_dict', checkpoint)
            load_exactly(model, weights, 'the checkpoint')
            meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        model.dataset_meta = model_facts(Config(dict(cfg)), meta)

    def _init_visualizer(self, cfg: Config) -> MultiBandLocalVisualizer:
        # Pictures are returned, or go where the call says.
        cfg.visualizer = dict(type='MultiBandLocalVisualizer', name='inferencer')
        return super()._init_visualizer(cfg)

    def _init_pipeline(self, cfg: Config) -> Compose:
        steps = cfg.test_dataloader.dataset.pipeline
        rest = [TRANSFORMS.build(step) for step in steps if step['type'] not in _LOADING]
        return Compose([self._load, *rest])

    def _load(self, given: str | np.ndarray) -> dict:
        """Return the bands of the model, from a file or an array."""
        bands = self.model.dataset_meta['bands']
        if isinstance(given, np.ndarray):
            if bands and given.shape[2:] != (len(bands),):
                raise UserError(
                    f'an array of shape {given.shape}: the model takes (H, W, {len(bands)}), bands '
                    f'{", ".join(bands)}'
                )
            shape = given.shape[:2]
            return dict(img=given, img_path=None, img_shape=shape, ori_shape=shape, bands=bands)
        scaled = bool(self.model.dataset_meta.get('apply_scale'))
        with Raster(given, apply_scale=scaled) as raster:
            info = raster.info
            choice = choose_bands(info.path, info.band_names, bands)
            samples = raster.samples(bands=choice.index)
        for note in choice.notes:
            warnings.warn(note, stacklevel=2)
        image = np.ascontiguousarray(samples.without_invalid().transpose(1, 2, 0))
        return dict(
            img=image, img_path=given, img_shape=info.shape, ori_shape=info.shape, bands=bands
        )
