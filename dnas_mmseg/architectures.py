"""Public import path of architectures and their loader."""

from dnas_mmseg.spaces.architecture import Architecture, ArchitectureError
from dnas_mmseg.spaces.registry import load_architecture, published_architectures

__all__ = ['Architecture', 'ArchitectureError', 'load_architecture', 'published_architectures']
