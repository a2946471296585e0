"""Architecture search: the search hook, the pipeline of stages, and network selection."""

from .hook import ArchitectureSearchHook

__all__ = ['ArchitectureSearchHook']
