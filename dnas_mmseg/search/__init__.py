"""Searches: the hook that trains architecture parameters, and the pipeline of stages around it."""

from .hook import ArchitectureSearchHook

__all__ = ['ArchitectureSearchHook']
