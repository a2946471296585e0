"""What the tools do, as functions."""

from .checkpoint_conversion import (
    CheckpointError,
    Conversion,
    from_authors,
    supernet_from_authors,
    to_authors,
)
from .inferencer import MultiBandInferencer
from .onnx_model import OnnxModel, export_onnx
from .prediction import load_segmentor, predict_scenes
from .running import test, train, weight_classes
from .scene_prediction import Tiling, predict_scene
from .search_pipeline import search
from .search_plan import SearchPlan
from .seeds import SeedScores, train_seeds

__all__ = [
    'CheckpointError',
    'Conversion',
    'MultiBandInferencer',
    'OnnxModel',
    'SearchPlan',
    'SeedScores',
    'Tiling',
    'export_onnx',
    'from_authors',
    'load_segmentor',
    'predict_scene',
    'predict_scenes',
    'search',
    'supernet_from_authors',
    'test',
    'to_authors',
    'train',
    'train_seeds',
    'weight_classes',
]
