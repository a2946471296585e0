"""Base class of the search spaces: a family of networks and the stages of its search."""

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
    """Results that a stage decodes in a search with several cost targets."""

    SHARED = 'shared'
    """One architecture, from which later stages can reach all targets."""
    JOINED = 'joined'
    """One architecture per target; the supernet of the next stage contains their union."""
    WITHIN = 'within'
    """One architecture per target, each within its part of the union of the previous stage."""
    SEPARATE = 'separate'
    """One architecture per target."""


@dataclass(frozen=True)
class Stage:
    """A stage of a search.

    Attributes:
        level: Level that the stage decides.
        config: Config with the supernet and search settings of the stage, relative to
            ``configs/`` of the package.
        multi_target: Results that the stage decodes for several cost targets.
    """

    level: str
    config: str
    multi_target: MultiTargetMode = MultiTargetMode.SEPARATE


class SearchSpace(ABC):
    """A family of networks and the stages of its search.

    Subclasses are registered by :func:`dnas_mmseg.spaces.registry.register_space`. Methods take the
    *arguments of a supernet*, ``{'layers': 12, ...}``, which define the size of the space; no
    supernet is built.

    Attributes:
        architecture: Type of the space's architectures.
        network: Registered name of the searched network.
        config: Default config of the network that searches start from, relative to ``configs/``.
        small_config: Config whose network is searched where the user's config has another network;
            of a size for CPUs. Defaults to ``config``.
        stages: Stages of the search, in order.
        encoders: Published networks that are encoders of other models. A config with one of them is
            a config of another network, of which only the data and the recipe are used.
        shared: Arguments that supernets inherit from the network's config.
        width: Name of the network's argument for its width; None if it has none.
        has_own_head: Whether the stages' configs have a separate head for the supernet, which
            inherits the classes and the loss.
        paper_overrides: Arguments of the network with which its paper reports costs.
    """

    architecture: ClassVar[type[Architecture]]
    network: ClassVar[str]
    config: ClassVar[str]
    small_config: ClassVar[str] = ''
    stages: ClassVar[tuple[Stage, ...]]
    encoders: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]]
    width: ClassVar[str | None] = None
    has_own_head: ClassVar[bool] = False
    paper_overrides: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def sample(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> Architecture:
        """Sample a random network, the baseline of a search.

        Args:
            supernet: Arguments of the supernet.
            rng: Random generator.
            name: Name of the architecture.

        Returns:
            Architecture of level ``'cell'``.
        """

    @abstractmethod
    def mutate(
        self, supernet: Mapping[str, Any], network: Any, rng: np.random.Generator
    ) -> Architecture:
        """Return a network that differs from another in a single decision.

        Args:
            supernet: Arguments of the supernet.
            network: Architecture of level ``'cell'``.
            rng: Random generator.
        """

    @abstractmethod
    def encode(self, network: Any) -> np.ndarray:
        """Return the features from which a surrogate predicts a network's score, (features,).

        Ordered quantities are encoded as numbers, not as one-hot vectors.
        """

    @property
    def name(self) -> str:
        """Name of the space in files, configs and commands."""
        return self.architecture.space

    @property
    def published(self) -> list[Path]:
        """Files of the included architectures, ``published/*.json`` next to the subclass."""
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
    """Return the constructor arguments of a model's config, with defaults filled in."""
    settings = dict(config)
    arguments = inspect.signature(MODELS.get(settings.pop('type'))).bind_partial(**settings)
    arguments.apply_defaults()
    return arguments.arguments


def network_arguments(model: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of the network that a search finds.

    Args:
        model: Config of a segmentor with the network or the supernet as backbone.
        default: Config of the network that applies if the backbone is a supernet.
    """
    backbone = model['backbone']
    return constructor_arguments(backbone if backbone['type'] == default['type'] else default)
