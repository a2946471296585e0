"""mmseg inferencer for multi-band images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.apis import MMSegInferencer
from mmseg.registry import TRANSFORMS

from dnas_mmseg.bands import choose_bands
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.checkpoints import find_checkpoint, load_exactly
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import place, switch_to_deploy
from dnas_mmseg.raster import RASTER_SUFFIXES, Raster, raster_stem
from dnas_mmseg.visualization import MultiBandLocalVisualizer

from .engine_segmentor import EngineSegmentor
from .openvino_model import EnginePrecision, OpenVINOModel
from .pretrained import list_pretrained_models
from .segmentor import get_model_metainfo

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_LOADING = (
    'LoadRasterFromFile', 'SelectBands', 'LoadRasterAnnotations', 'LoadImageFromFile',
    'LoadAnnotations',
)  # fmt: skip
_CONFIGS = ('.py', '.json', '.yaml', '.yml')


class MultiBandInferencer(MMSegInferencer):
    """Run :class:`mmseg.apis.MMSegInferencer` on images with any number of bands and any dtype.

    The stock class decodes files with OpenCV; this one reads them with GDAL. Arguments and results
    are the same. Inputs are paths, a folder of rasters, or arrays (H, W, bands). Bands of files are
    selected by name if the file names them. Files without band names, and arrays, must have the
    bands of the model in its order. Classes, palette and bands are read from the checkpoint, else
    from the config.

    Args:
        model: Config, its path or name (``dnas_mmseg::dnas/dnas_l14_gid5.py``), or the name of a
            pretrained model (``dnas models``), which has weights; None where the checkpoint holds
            its config.
        weights: Path of a checkpoint of this model, or of its work dir; all tensors must match.
        classes, palette, dataset_name, device, scope: Arguments of
            :class:`mmseg.apis.MMSegInferencer`.
        backend: Engine that runs the model.
        precision: Precision of OpenVINO inference.
        window: Side of the largest supported image with OpenVINO, in pixels.
        **kwargs: Further arguments of that class, e.g. ``show_progress`` if mmseg supports it.

    Raises:
        CheckpointError: The checkpoint belongs to another network.
        UserError: An image lacks a band.

    Example:
        Writes ``out/vis/tile.png`` and the predicted classes under ``out/pred``.

        >>> inferencer = MultiBandInferencer('config.py', 'best.pth')  # doctest: +SKIP
        >>> result = inferencer('tile.tif', out_dir='out')  # doctest: +SKIP
        >>> result['predictions'].shape  # doctest: +SKIP
        (512, 512)
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
        if isinstance(model, (str, os.PathLike)):
            name = os.fspath(model)
            included = list_pretrained_models().get(name)
            if included is not None:
                model, weights = load_config(included.config), weights or included.weights
            elif '::' in name or name.endswith(_CONFIGS):  # others are names of mmseg's models
                model = load_config(name)
        if weights is not None and os.path.isdir(weights):
            weights = find_checkpoint(weights)
        super().__init__(
            model,
            weights if weights is None else os.fspath(weights),
            classes,
            palette,
            dataset_name,
            device,
            scope,
            **kwargs,
        )
        self.model = place(switch_to_deploy(self.model), device or get_device())
        if backend == 'openvino':
            engine = OpenVINOModel.from_segmentor(self.model, window, precision)
            self.model = EngineSegmentor(engine)
        elif backend != 'torch':
            raise UserError(f'backend {backend!r}: choose torch or openvino')
        overrides = {'classes': classes, 'palette': palette}
        self.model.dataset_meta.update({key: value for key, value in overrides.items() if value})

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
        for source, prediction in zip(inputs, preds, strict=True):
            if isinstance(source, np.ndarray):
                image, bands = source, self.model.dataset_meta['bands']
                name = f'{self.num_visualized_imgs:08d}_vis'
            else:
                results = self._load(source)
                image, bands, name = results['img'], results['bands'], raster_stem(source)
            metainfo = {key: self.model.dataset_meta[key] for key in ('classes', 'palette')}
            self.visualizer.set_dataset_meta(**metainfo, bands=bands)
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
            folder = Path(inputs)
            inputs = [
                path for path in sorted(folder.iterdir()) if path.suffix.lower() in RASTER_SUFFIXES
            ]
            if not inputs:
                raise UserError(f'{folder}: no rasters in this folder')
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
        model.dataset_meta = get_model_metainfo(Config(dict(cfg)), meta)

    def _init_visualizer(self, cfg: Config) -> MultiBandLocalVisualizer:
        # The stock inferencer would use the visualizer of the config, with its backends.
        cfg.visualizer = dict(type='MultiBandLocalVisualizer', name='inferencer')
        return super()._init_visualizer(cfg)

    def _init_pipeline(self, cfg: Config) -> Compose:
        dataset = next(leaf_datasets(cfg.get('test_dataloader')), {})
        steps = dataset.get('pipeline') or [dict(type='PackSegInputs')]
        rest = [TRANSFORMS.build(step) for step in steps if type_name(step) not in _LOADING]
        return Compose([self._load, *rest])

    def _load(self, source: str | np.ndarray) -> dict:
        """Return the bands of the model from a file or an array, as results of a pipeline."""
        bands = self.model.dataset_meta['bands']
        if isinstance(source, np.ndarray):
            if bands and source.shape[2:] != (len(bands),):
                raise UserError(
                    f'array of shape {source.shape}: the model expects (H, W, {len(bands)}), bands '
                    f'{", ".join(bands)}'
                )
            shape = source.shape[:2]
            return dict(img=source, img_path=None, img_shape=shape, ori_shape=shape, bands=bands)
        scaled = bool(self.model.dataset_meta.get('apply_scale'))
        with Raster(source, apply_scale=scaled) as raster:
            info = raster.info
            assumed = self.model.dataset_meta.get('unnamed_bands') or ()
            choice = choose_bands(info.path, info.band_names, bands, assumed=assumed)
            samples = raster.samples(bands=choice.index)
        for note in choice.notes:
            warnings.warn(note, stacklevel=2)
        image = np.ascontiguousarray(samples.without_invalid().transpose(1, 2, 0))
        return dict(
            img=image, img_path=source, img_shape=info.shape, ori_shape=info.shape, bands=bands
        )
