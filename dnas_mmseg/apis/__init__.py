"""Public Python API: functions and classes behind the command line."""

from dnas_mmseg.engine.browsing import browse
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.engine.running import test, train, weight_classes
from dnas_mmseg.engine.seeds import SeedScores, train_folds, train_seeds
from dnas_mmseg.mapping.dask_cluster import DaskCluster, open_cluster
from dnas_mmseg.mapping.inferencer import MultiBandInferencer
from dnas_mmseg.mapping.loading import ModelSource
from dnas_mmseg.mapping.map_plan import plan_scenes
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import SceneSource, Tiling, predict_scene
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.preparation.geo_dataset import GeoDataRoot, cut_geo_dataset
from dnas_mmseg.raster import ItemScenes, read_items
from dnas_mmseg.search.pipeline import search
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.selection.plan import SelectionPlan
from dnas_mmseg.selection.run import select_network
from dnas_mmseg.spaces.dnas.authors_checkpoint import (
    Conversion,
    from_authors,
    supernet_from_authors,
    to_authors,
)
from dnas_mmseg.visualization.samples import SamplePictures

__all__ = [
    'CheckpointError',
    'Conversion',
    'DaskCluster',
    'GeoDataRoot',
    'ItemScenes',
    'MapProducts',
    'ModelSource',
    'MultiBandInferencer',
    'OnnxModel',
    'SamplePictures',
    'SceneSource',
    'SearchPlan',
    'SeedScores',
    'SelectionPlan',
    'Tiling',
    'browse',
    'cut_geo_dataset',
    'export_onnx',
    'from_authors',
    'load_segmentor',
    'open_cluster',
    'plan_scenes',
    'predict_scene',
    'predict_scenes',
    'read_items',
    'search',
    'select_network',
    'supernet_from_authors',
    'test',
    'to_authors',
    'train',
    'train_folds',
    'train_seeds',
    'weight_classes',
]
