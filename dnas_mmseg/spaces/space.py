"""Base of the search spaces: a family of networks, and how it is searched."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmseg.registry import MODELS

from .architecture import Architecture


class MultiTargetMode(str, Enum):
    """Results that a stage decodes where networks of several costs are found in one search."""

    SHARED = 'shared'
    """One architecture, from which all targets can be reached."""
    JOINED = 'joined'
    """An architecture per target; the next stage's supernet holds the union of them."""
    WITHIN = 'within'
    """An architecture per target, each within its own part of what the stage before joined."""
    SEPARATE = 'separate'
    """An architecture per target."""


@dataclass(frozen=True)
class Stage:
    """A stage of a search.

    Attributes:
        level: Level that the stage decides, that of the architecture it decodes.
        config: Config, relative to ``configs/`` of the package, whose supernet and search settings
            the stage takes.
        multi_target: Results that the stage decodes for several targets.
    """

    level: str
    config: str
    multi_target: MultiTargetMode = MultiTargetMode.SEPARATE


class SearchSpace(ABC):
    """A search space: a family of networks, and how it is searched.

    A space is a folder with a subclass of this in ``space.py``, registered by
    :func:`dnas_mmseg.spaces.registry.register_space`. Methods take the *arguments of a supernet*,
    ``{'layers': 12, ...}``, which describe the space's size; no supernet is built.

    Attributes:
        architecture: Type of the space's architectures.
        network: Registered name of the searched network.
        config: Config, relative to ``configs/``, that searches start from unless the user names
            one.
        stages: Stages of the search, in order.
        shared: Arguments that supernets take over from the network's config.
        width: Name of the network's argument for its width; None where it has none.
        has_own_head: Whether the stages' configs have a head of the supernet's own; it takes over
            the classes and the loss.
        paper_overrides: Arguments with which the network is as its paper counted it.
    """

    architecture: ClassVar[type[Architecture]]
    network: ClassVar[str]
    config: ClassVar[str]
    stages: ClassVar[tuple[Stage, ...]]
    shared: ClassVar[tuple[str, ...]]
    width: ClassVar[str | None] = None
    has_own_head: ClassVar[bool] = False
    paper_overrides: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def sample(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> Architecture:
        """Sample a network evenly from the space: the baseline that a search must beat.

        Args:
            supernet: Arguments of the supernet.
            rng: Source of randomness.
            name: Name of the architecture.

        Returns:
            Architecture of level ``'cell'``.
        """

    @abstractmethod
    def mutate(
        self, supernet: Mapping[str, Any], network: Any, rng: np.random.Generator
    ) -> Architecture:
        """Return a network that differs from one in a single thing.

        Args:
            supernet: Arguments of the supernet.
            network: Network of level ``'cell'``.
            rng: Source of randomness.
        """

    @abstractmethod
    def encode(self, network: Any) -> np.ndarray:
        """Return the features by which a surrogate predicts a network's score, (features,).

        They are ordinal where an order exists.
        """

    @property
    def name(self) -> str:
        """The space's name, as files and users write it."""
        return self.architecture.space

    @property
    def published(self) -> list[Path]:
        """Files of the architectures that ship with the space, ``published/*.json`` beside it."""
        return sorted(Path(inspect.getfile(type(self))).parent.glob('published/*.json'))

    @property
    def levels(self) -> list[str]:
        """Levels of the stages, in order."""
        return [stage.level for stage in self.stages]

    def stage(self, level: str) -> Stage:
        """Return the stage that decides a level."""
        return self.stages[self.levels.index(level)]

    def before(self, level: str) -> str | None:
        """Return the level that a stage starts from; None for the first stage."""
        place = self.levels.index(level)
        return self.levels[place - 1] if place else None


def constructor_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments a model's config stands for, its constructor's defaults in the gaps."""
    settings = dict(config)
    arguments = inspect.signature(MODELS.get(settings.pop('type'))).bind_partial(**settings)
    arguments.apply_defaults()
    return arguments.arguments


def network_arguments(model: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of the network that a search will find.

    Args:
        model: Config of a segmentor: of the network, or of the supernet.
        default: Config of the network, where ``model`` is the supernet's.
    """
    backbone = model['backbone']
    return constructor_arguments(backbone if backbone['type'] == default['type'] else default)
