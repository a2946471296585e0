"""Families of candidates: search spaces, and configs with declared choices."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.cost.parts import cost_table, latency_facts, segmentor_cost
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.config_parts import list_schedulers, merge_imports, type_name
from dnas_mmseg.engine.length import full_epochs
from dnas_mmseg.errors import UserError
from dnas_mmseg.runs.network import architecture_config, network_config, supernet_backbone
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES, load_architecture
from dnas_mmseg.spaces.space import constructor_arguments

from .choices import Assignment, Choices

_RECIPE = (
    'optim_wrapper', 'auto_scale_lr', 'param_scheduler', 'train_cfg', 'custom_hooks',
    'log_processor',
)  # fmt: skip
"""Settings of the training recipe that a family takes from its own config."""

_LENGTHS = ('end', 'T_max', 'milestones', 'step_size', 'periods', 'total_steps')
"""Arguments of parameter schedulers by which a decay depends on the length of a training."""

_MUTATIONS = 60
"""Mutations sampled per parent. Duplicates are removed, so more bring few new ones in a small
space, and each is encoded and ranked."""

_LAYERS = {'dnas': 12}
"""Number of layers of a space's networks if the user sets none: that of its portfolio network."""


@dataclass(frozen=True)
class Candidate:
    """A network with its training recipe.

    Attributes:
        family: Name of its family.
        choice: Architecture of a search space, or value of each choice of a config.
        name: Unique name; the same choice has the same name.
    """

    family: str
    choice: Architecture | Assignment
    name: str

    def to_document(self) -> dict[str, Any]:
        """Return the candidate as a JSON object for the queue."""
        choice: Any = self.choice
        document = choice.to_document() if isinstance(choice, Architecture) else list(choice)
        return {'family': self.family, 'choice': document}


class Family(ABC):
    """A set of candidates whose encodings are comparable.

    Attributes:
        name: Name of the family.
        is_searched: Whether it is a search space.
    """

    name: str
    is_searched: bool

    def __init__(self) -> None:
        self._known_costs: dict[tuple[str, str], float] = {}

    def cost(self, candidate: Candidate, metric: str) -> float:
        """Return a cost of a candidate, computed once.

        Args:
            candidate: The candidate.
            metric: One of :data:`dnas_mmseg.cost.table.METRICS`.
        """
        key = candidate.name, metric
        if key not in self._known_costs:
            self._known_costs[key] = self._compute_cost(candidate, metric)
        return self._known_costs[key]

    @abstractmethod
    def config(self, candidate: Candidate) -> Config:
        """Return the config of a candidate on the user's data, with its own full schedule."""

    @abstractmethod
    def parse(self, choice: Any) -> Candidate:
        """Return the candidate of a document of :meth:`Candidate.to_document`.

        Raises:
            UserError: The family has no such candidate.
        """

    @property
    @abstractmethod
    def size(self) -> float:
        """Number of candidates."""

    @abstractmethod
    def random(self, rng: np.random.Generator) -> Candidate:
        """Sample a candidate uniformly."""

    @abstractmethod
    def neighbours(self, candidate: Candidate, rng: np.random.Generator) -> list[Candidate]:
        """Return distinct candidates that differ in a single choice."""

    @abstractmethod
    def encode(self, candidate: Candidate) -> np.ndarray:
        """Return the features of a candidate, (features,)."""

    @abstractmethod
    def _compute_cost(self, candidate: Candidate, metric: str) -> float:
        """Return a cost of a candidate."""

    @abstractmethod
    def describe(self, candidate: Candidate) -> str:
        """Return the choices of a candidate as a short text; empty for the default."""


@dataclass(frozen=True)
class SpaceSettings:
    """Settings of a search space on the user's data, as ``runs.network.NetworkSource``."""

    space: str
    config: str | None
    data_root: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    base_channels: int | None = None


class SpaceFamily(Family):
    """Candidates of a search space.

    Args:
        settings: Space and data.
        layers: Number of layers; None uses that of the space's portfolio network.
        size: Side of the images for costs, in pixels.
        latency_table: Path of the table of ``dnas measure-latency``; required for latency only.
    """

    is_searched = True

    def __init__(
        self, settings: SpaceSettings, layers: int | None, size: int, latency_table: str | None
    ) -> None:
        super().__init__()
        self.name = settings.space
        self._space = SPACES[self.name]
        self._base = network_config(settings)
        self._base.load_from, self._base.resume = None, False
        stage = Config.fromfile(str(CONFIGS / self._space.stages[0].config))
        layers = layers or _LAYERS.get(self.name)
        self._supernet = supernet_backbone(self.name, stage, self._base, layers)
        self._arguments = constructor_arguments(self._supernet)
        self._size, self._table = (size, size), latency_table
        self._cost_models: dict[str, Any] = {}

    def config(self, candidate: Candidate) -> Config:
        assert isinstance(candidate.choice, Architecture)
        return architecture_config(copy.deepcopy(self._base), candidate.choice.to_document())

    def parse(self, choice: Any) -> Candidate:
        architecture = load_architecture(choice)
        architecture.require(self.name, 'cell', by='a selection')
        layers, own = self._arguments.get('layers'), getattr(architecture, 'layers', None)
        if layers != own:
            raise UserError(
                f'{architecture.name} has {own} layers, the networks of this selection have '
                f'{layers}: set --layers {own}'
            )
        candidate = self._candidate(architecture)
        self.encode(candidate)  # raises if the space lacks one of its parts
        return candidate

    @property
    def size(self) -> float:
        return float('inf')

    def random(self, rng: np.random.Generator) -> Candidate:
        return self._candidate(self._space.sample(self._arguments, rng, 'sampled'))

    def neighbours(self, candidate: Candidate, rng: np.random.Generator) -> list[Candidate]:
        found = (
            self._space.mutate(self._arguments, candidate.choice, rng) for _ in range(_MUTATIONS)
        )
        return list(dict.fromkeys(map(self._candidate, found)))

    def encode(self, candidate: Candidate) -> np.ndarray:
        sizes = np.log([self.cost(candidate, metric) for metric in ('macs', 'params')])
        return np.array([*self._space.encode(candidate.choice), *sizes])

    def _compute_cost(self, candidate: Candidate, metric: str) -> float:
        """Return a cost, predicted from a table of the space's parts."""
        if metric not in self._cost_models:
            parts = self._built.parts(self._base.model, self._size)
            if metric == 'latency':
                if self._table is None:
                    raise UserError('--cost latency requires the --latency-table of the space')
                table = CostTable.load(self._table, latency_facts(parts.facts, get_device()))
            else:
                table = cost_table(parts, metric)
            self._cost_models[metric] = self._built.cost_model(table)
        return float(self._cost_models[metric].cost(candidate.choice))

    def describe(self, candidate: Candidate) -> str:
        return ''

    @cached_property
    def _built(self) -> Any:
        return MODELS.build(self._supernet)

    def _candidate(self, architecture: Architecture) -> Candidate:
        """Return a candidate that is named by a digest of its content, without provenance."""
        body = {**architecture.to_document(), 'name': '', 'provenance': {}}
        name = f'{self.name}_{_digest(body)}'
        return Candidate(self.name, replace(architecture, name=name, provenance={}), name)


class ConfigFamily(Family):
    """Candidates of a config with declared choices, or the single network of one without.

    Args:
        name: Name of the family.
        config: Config of any segmentor, perhaps with ``choices``.
        own: Config on the user's data.
        size: Side of the images for costs, in pixels.

    Raises:
        UserError: The config or its choices do not fit the data, or do not build.
    """

    is_searched = False

    def __init__(self, name: str, config: Config, own: Config, size: int) -> None:
        super().__init__()
        self.name, self._size = name, (size, size)
        self._base = adapt_to_data(config, own)
        full_epochs(self._base)  # raises for a schedule in iterations
        self.choices = Choices(self._base, name)
        self._base.pop('choices', None)
        self._cost_of_models: dict[tuple[str, str], float] = {}
        built: set[str] = set()
        for assignment in (self.choices.default, *self.choices.neighbours(self.choices.default)):
            combined = self.config(self._candidate(assignment))
            model = combined.model
            if config is not own:  # whose iterations are those of its own tiles
                _check_schedule(combined, name)
            if (digest := _digest(model.to_dict())) not in built:  # most choices share the model
                built.add(digest)
                self._check(assignment, model)

    def _check(self, assignment: Assignment, model: Config) -> None:
        """Check that the model of a combination can be built."""
        try:
            MODELS.build(model)
        except Exception as error:  # any class may fail in any way
            values = self.choices.describe(assignment)
            where = f' with {values}' if values else ''
            raise UserError(
                f'{self.name}: its model{where} cannot be built: {type(error).__name__}: '
                f'{" ".join(str(error).split())[:300]}'
            ) from None

    @property
    def default(self) -> Candidate:
        """The candidate with the first value of every choice."""
        return self._candidate(self.choices.default)

    def config(self, candidate: Candidate) -> Config:
        config = copy.deepcopy(self._base)
        assert not isinstance(candidate.choice, Architecture)
        self.choices.apply(config, candidate.choice)
        return config

    def parse(self, choice: Any) -> Candidate:
        counts = [len(item.values) for item in self.choices.items]
        if (
            not isinstance(choice, list)
            or len(choice) != len(counts)
            or any(
                type(i) is not int or not 0 <= i < n for i, n in zip(choice, counts, strict=True)
            )
        ):
            raise UserError(f'{self.name}: {choice} is not a combination of its choices')
        return self._candidate(tuple(choice))

    @property
    def size(self) -> float:
        return self.choices.count

    def random(self, rng: np.random.Generator) -> Candidate:
        return self._candidate(self.choices.random(rng))

    def neighbours(self, candidate: Candidate, rng: np.random.Generator) -> list[Candidate]:
        assert not isinstance(candidate.choice, Architecture)
        return [self._candidate(other) for other in self.choices.neighbours(candidate.choice)]

    def encode(self, candidate: Candidate) -> np.ndarray:
        assert not isinstance(candidate.choice, Architecture)
        sizes = np.log([self.cost(candidate, metric) for metric in ('macs', 'params')])
        return np.array([*self.choices.encode(candidate.choice), *sizes])

    def _compute_cost(self, candidate: Candidate, metric: str) -> float:
        """Return a cost of the model, counted or measured once for all that share it."""
        model = self.config(candidate).model
        model.pop('auxiliary_head', None)
        key = _digest(model.to_dict()), metric
        if key not in self._cost_of_models:
            self._cost_of_models[key] = segmentor_cost(model, metric, self._size)
        return self._cost_of_models[key]

    def describe(self, candidate: Candidate) -> str:
        assert not isinstance(candidate.choice, Architecture)
        return self.choices.describe(candidate.choice)

    def _candidate(self, assignment: Assignment) -> Candidate:
        if assignment == self.choices.default:
            return Candidate(self.name, assignment, self.name)
        values = [c.values[i] for c, i in zip(self.choices.items, assignment, strict=True)]
        return Candidate(self.name, assignment, f'{self.name}_{_digest(values)}')


def _check_schedule(config: Config, name: str) -> None:
    """Check that a schedule follows the length of a training.

    Raises:
        UserError: A decay counts iterations, whose number depends on the tiles.
    """
    for scheduler in list_schedulers(config):
        kind, end = type_name(scheduler), scheduler.get('end_factor', 1.0)
        is_warm_up = kind == 'ConstantLR' or (kind == 'LinearLR' and end == 1.0)
        lengths = [key for key in _LENGTHS if key in scheduler]
        if lengths and not scheduler.get('by_epoch', True) and not is_warm_up:
            raise UserError(
                f'{name}: {kind} counts iterations, whose number depends on the tiles: set '
                'by_epoch=True, convert_to_iter_based=True, and '
                f'{" and ".join(lengths)} to numbers of epochs'
            )


def adapt_to_data(config: Config, own: Config) -> Config:
    """Return a config's network and training recipe on the user's data.

    Args:
        config: Config of any segmentor; ``own`` itself keeps its network as it is.
        own: Config on the user's data; its head sets the classes, its preprocessor the statistics.

    Raises:
        UserError: The user's config has no normalisation or no decode head.
    """
    for document in (config, own):
        if not isinstance((document.get('model') or {}).get('backbone'), Mapping):
            raise UserError(
                f'{document.filename or "the config"} has no model with a backbone, which a '
                'selection requires'
            )
    mean = (own.model.get('data_preprocessor') or {}).get('mean')
    heads = own.model.get('decode_head')
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    if not mean or not isinstance(head, Mapping):
        raise UserError(
            'the config has no data_preprocessor with mean and std, or no decode_head with '
            'num_classes'
        )
    result = copy.deepcopy(own)
    if config is not own:
        result.model = _adapt_model(config.model, own, len(mean), head)
    for key in (*_RECIPE, 'choices', 'load_from'):
        result[key] = copy.deepcopy(config.get(key))
    result.custom_imports = merge_imports(own, config)
    result.resume = False
    return result


def _adapt_model(model: Config, own: Config, bands: int, head: Mapping[str, Any]) -> Config:
    """Return a model with the bands, statistics and classes of the user's data.

    Args:
        model: Config of a model.
        own: Config on the user's data.
        bands: Its number of bands.
        head: Its decode head.
    """
    model = copy.deepcopy(model)
    model.data_preprocessor = _preprocessor(own.model.data_preprocessor, model)
    model.backbone.in_channels = bands
    parts: list[Any] = [model.backbone, model.backbone.get('init_cfg') or {}]
    for part in parts:
        if part.get('bands'):
            (first, *_) = multi_band_parts(DATASETS.build(own.train_dataloader.dataset))
            part.bands = list(first.used_bands)
    for key in ('decode_head', 'auxiliary_head'):
        heads = model.get(key) or []
        for one in heads if isinstance(heads, (list, tuple)) else [heads]:
            one.num_classes = head['num_classes']
            if head.get('ignore_index') is not None:
                one.ignore_index = head['ignore_index']
    return model


def _preprocessor(own: Config, model: Config) -> Config:
    """Return the user's preprocessor, with the divisors of sizes that a network requires."""
    result: Any = copy.deepcopy(own)
    other: Any = model.get('data_preprocessor') or {}
    if other.get('test_cfg') and not result.get('test_cfg'):
        result.test_cfg = copy.deepcopy(other.test_cfg)
    if other.get('size_divisor') and not result.get('size'):
        result.size_divisor = other.size_divisor
    return result


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
