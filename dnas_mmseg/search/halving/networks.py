"""Candidates of a selection: the networks of a space, and baselines of other kinds."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import MODELS

from dnas_mmseg.cost.parts import cost_table, latency_facts, segmentor_cost
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.search.network_config import network_config
from dnas_mmseg.search.stages import supernet_config
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES, load_architecture
from dnas_mmseg.spaces.space import constructor_arguments

from .plan import GRADIENT, SelectionPlan
from .schedule import full_epochs, whole_epochs

_BASELINE_SETTINGS = (
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'custom_hooks',
    'log_processor',
)
"""Settings of a baseline that are used with its model: its own training schedule."""

_MUTATIONS = 60
"""Mutations sampled per parent."""


@dataclass(frozen=True)
class Baseline:
    """A network of another kind that takes part in the last rung.

    Attributes:
        name: Name of its config.
        config: Path of its config; where it lies does not tell baselines apart.
    """

    name: str
    config: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Baseline) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


Candidate = Architecture | Baseline


class SpaceCandidates:
    """The networks that a selection chooses from.

    Args:
        plan: Settings of the selection.

    Attributes:
        fidelities: Shares of the full schedule in whole epochs, one for each rung.
        config: Config of the space's networks on the user's data.
    """

    def __init__(self, plan: SelectionPlan) -> None:
        self.plan = plan
        self.config = network_config(plan.network)
        self.fidelities = whole_epochs(plan.rungs, full_epochs(self.config))
        self._space = SPACES[plan.network.space]
        supernet = supernet_config(plan.network)
        self._arguments = constructor_arguments(supernet)
        built = MODELS.build(supernet)
        self._size = (plan.network.cost_size,) * 2
        self._costs = {}
        for metric in {'macs', 'params', plan.network.cost}:
            parts = built.parts(self.config.model, self._size)
            if metric == 'latency':
                facts = latency_facts(parts.facts, get_device())
                assert plan.network.latency_table is not None  # the plan checks it
                table = CostTable.load(plan.network.latency_table, facts)
            else:
                table = cost_table(parts, metric)
            self._costs[metric] = built.cost_model(table)
        self._counted: dict[tuple[str, str], float] = {}

    def random(self, rng: np.random.Generator) -> Architecture:
        """Draw a network evenly from the space."""
        return named(self._space.sample(self._arguments, rng, 'sampled'))

    def neighbours(self, candidate: Architecture, rng: np.random.Generator) -> list[Architecture]:
        """Return networks that differ from one in a single thing, drawn at random."""
        found = (self._space.mutate(self._arguments, candidate, rng) for _ in range(_MUTATIONS))
        return list(dict.fromkeys(map(named, found)))

    def encode(self, candidate: Architecture) -> np.ndarray:
        """Return what a surrogate sees of a network: its encoding, and its size, (features,)."""
        sizes = np.log([self.cost_by(candidate, metric) for metric in ('macs', 'params')])
        return np.array([*self._space.encode(candidate), *sizes])

    def cost(self, candidate: Candidate) -> float:
        """Return the cost that a limit is about, by the plan's metric."""
        return self.cost_by(candidate, self.plan.network.cost)

    def cost_by(self, candidate: Candidate, metric: str) -> float:
        """Return the cost of a candidate by some metric; baselines are counted, or measured."""
        key = candidate.name, metric
        if key in self._counted:
            return self._counted[key]
        if isinstance(candidate, Architecture):
            self._counted[key] = self._costs[metric].cost(candidate)
        else:
            model = baseline_config(candidate, copy.deepcopy(self.config)).model
            model.pop('auxiliary_head', None)
            self._counted[key] = segmentor_cost(model, metric, self._size)
        return self._counted[key]

    def given(self, found: Path) -> list[Architecture]:
        """Return the architectures that the user names.

        Args:
            found: File of what the gradient search finds; read where the plan has one.

        Raises:
            ArchitectureError: One is missing, or of another space.
        """
        sources = [found if name == GRADIENT else name for name in self.plan.candidates]
        architectures = [load_architecture(source) for source in sources]
        for architecture in architectures:
            architecture.require(self.plan.network.space, 'cell', by='--candidates')
            self.encode(architecture)  # says it if its parts are not in this space
        return [named(architecture.pruned()) for architecture in architectures]

    @property
    def baselines(self) -> list[Baseline]:
        """Baselines that the user names."""
        return [Baseline(Path(path).stem, path) for path in self.plan.baselines]


def baseline_config(baseline: Baseline, config: Config) -> Config:
    """Return a baseline's model and schedule on the data of the selection.

    Args:
        baseline: The baseline.
        config: Config of the space's networks on the user's data, which is changed.
    """
    theirs = load_config(baseline.config)
    own, model = config.model, theirs.model
    model.data_preprocessor = own.data_preprocessor
    model.backbone.in_channels = own.backbone.in_channels
    for key in ('decode_head', 'auxiliary_head'):
        heads = model.get(key) or []
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            head.num_classes = own.decode_head.num_classes
    config.model = model
    for key in _BASELINE_SETTINGS:
        config[key] = theirs.get(key)
    return config


def named(architecture: Architecture) -> Architecture:
    """Return a network with a name that tells it from others, and no history."""
    body = {**architecture.to_document(), 'name': '', 'provenance': {}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return replace(architecture, name=f'{architecture.space}_{digest[:8]}', provenance={})


def to_document(candidate: Candidate) -> dict:
    """Return a candidate as JSON, for the queue of trainings."""
    if isinstance(candidate, Architecture):
        return {'architecture': candidate.to_document()}
    return {'baseline': candidate.name}


def from_document(document: dict, baselines: Sequence[Baseline]) -> Candidate:
    """Return the candidate of a document that :func:`to_document` made.

    Raises:
        UserError: It is a baseline, and not one of ``baselines``.
    """
    if 'architecture' in document:
        return load_architecture(document['architecture'])
    for baseline in baselines:
        if baseline.name == document['baseline']:
            return baseline
    raise UserError(f"baseline '{document['baseline']}' is not among those of this command")
