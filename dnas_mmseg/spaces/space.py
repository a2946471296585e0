"""Description of a search space, as the search pipeline needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from mmseg.registry import MODELS

from .architecture import Architecture


class SeveralTargets(str, Enum):
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
        config: Config, relative to ``configs/``, whose supernet and search settings the stage
            takes.
        several_targets: Results that the stage decodes for several targets.
    """

    level: str
    config: str
    several_targets: SeveralTargets = SeveralTargets.SEPARATE


@dataclass(frozen=True)
class SearchSpace:
    """A search space: a family of networks, and how it is searched.

    Attributes:
        architecture: Type of the space's architectures.
        network: Registered name of the searched network.
        config: Config, relative to ``configs/``, that searches start from unless the user names
            one.
        stages: Stages of the search, in order.
        shared: Arguments that supernets take over from the network's config.
        draw: Function that draws a whole network from the space that a supernet's arguments
            describe.
        change: Function that draws a single change of a network, within that space.
        encode: Function from a network to the numbers by which its score is predicted, (features,).
        width: Name of the network's argument for its width; None where it has none.
        own_head: Whether the stages' configs have a head of the supernet's own; it takes over the
            classes and the loss.
        counted_as: Arguments with which the network is as its paper counted it.
    """

    architecture: type[Architecture]
    network: str
    config: str
    stages: tuple[Stage, ...]
    shared: tuple[str, ...]
    draw: Callable[[Mapping[str, Any], np.random.Generator, str], Architecture]
    change: Callable[[Mapping[str, Any], Any, np.random.Generator], Architecture]
    encode: Callable[[Any], np.ndarray]
    width: str | None = None
    own_head: bool = False
    counted_as: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The space's name, as files and users write it."""
        return self.architecture.space

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

    def random(
        self, supernet: Mapping[str, Any], rng: np.random.Generator, name: str
    ) -> Architecture:
        """Draw a random network from the space, the baseline that a search must beat.

        No supernet is built.

        Args:
            supernet: Config of the first stage's supernet; its constructor's defaults fill the
                gaps.
            rng: Source of chance.
            name: Name of the architecture.

        Returns:
            Architecture of level ``'cell'``.
        """
        return self.draw(constructor_arguments(supernet), rng, name)


def constructor_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments a model's config stands for, its constructor's defaults in the gaps."""
    settings = dict(config)
    arguments = inspect.signature(MODELS.get(settings.pop('type'))).bind_partial(**settings)
    arguments.apply_defaults()
    return arguments.arguments
