"""Candidates of a selection: networks of a search space, and baselines."""

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
from dnas_mmseg.engine.length import full_epochs
from dnas_mmseg.errors import UserError
from dnas_mmseg.search.network_config import network_config
from dnas_mmseg.search.stages import supernet_config
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES, load_architecture
from dnas_mmseg.spaces.space import constructor_arguments

from .plan import GRADIENT, SelectionPlan
from .schedule import whole_epochs

_BASELINE_SETTINGS = (
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'custom_hooks',
    'log_processor',
)
"""Settings of the training recipe that a baseline takes from its own config."""

_MUTATIONS = 60
"""Mutations sampled per parent. Duplicates are removed, so more bring few new ones in a small
space, and each is encoded and ranked."""


@dataclass(frozen=True)
class Baseline:
    """A network outside the search space, trained in the last rung for comparison.

    Attributes:
        name: Name of its config; it identifies the baseline.
        config: Path of its config, which may differ between machines.
    """

    name: str
    config: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Baseline) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


Candidate = Architecture | Baseline


class SpaceCandidates:
    """Candidates of a search space, for :func:`dnas_mmseg.search.selection.selection_steps`.

    Args:
        plan: Settings of the selection.

    Attributes:
        fidelities: Share of the full schedule of each rung, rounded to whole epochs.
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
                assert plan.network.latency_table is not None  # checked by the plan
                table = CostTable.load(plan.network.latency_table, facts)
            else:
                table = cost_table(parts, metric)
            self._costs[metric] = built.cost_model(table)
        self._counted: dict[tuple[str, str], float] = {}

    def random(self, rng: np.random.Generator) -> Architecture:
        """Sample a network uniformly from the space."""
        return with_digest_name(self._space.sample(self._arguments, rng, 'sampled'))

    def neighbours(self, candidate: Architecture, rng: np.random.Generator) -> list[Architecture]:
        """Return distinct random mutations of a network."""
        found = (self._space.mutate(self._arguments, candidate, rng) for _ in range(_MUTATIONS))
        return list(dict.fromkeys(map(with_digest_name, found)))

    def encode(self, candidate: Architecture) -> np.ndarray:
        """Return encoding, log multiply-adds and log parameters of a network, (features,)."""
        sizes = np.log([self.cost_by(candidate, metric) for metric in ('macs', 'params')])
        return np.array([*self._space.encode(candidate), *sizes])

    def cost(self, candidate: Candidate) -> float:
        """Return the cost of a candidate in the metric of the plan."""
        return self.cost_by(candidate, self.plan.network.cost)

    def cost_by(self, candidate: Candidate, metric: str) -> float:
        """Return the cost of a candidate in a metric.

        Costs of architectures are predicted from a table of parts. Costs of baselines are counted
        or, for latency, measured.
        """
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

    def load_initial(self, gradient_result: Path) -> list[Architecture]:
        """Load the architectures of ``--candidates``.

        Args:
            gradient_result: File that stands for ``'gradient'``, the result of a gradient search.

        Raises:
            ArchitectureError: An architecture is missing, or of another space.
        """
        sources = [gradient_result if name == GRADIENT else name for name in self.plan.candidates]
        architectures = [load_architecture(source) for source in sources]
        for architecture in architectures:
            architecture.require(self.plan.network.space, 'cell', by='--candidates')
            self.encode(architecture)  # raises if the space lacks one of its parts
        return [with_digest_name(architecture.pruned()) for architecture in architectures]

    @property
    def baselines(self) -> list[Baseline]:
        """Baselines of ``--baselines``."""
        return [Baseline(Path(path).stem, path) for path in self.plan.baselines]


def baseline_config(baseline: Baseline, config: Config) -> Config:
    """Return a config of a baseline's model and training recipe on the data of the selection.

    Args:
        baseline: The baseline.
        config: Config of the space's networks on the user's data; modified in place.
    """
    source = load_config(baseline.config)
    own, model = config.model, source.model
    model.data_preprocessor = own.data_preprocessor
    model.backbone.in_channels = own.backbone.in_channels
    for key in ('decode_head', 'auxiliary_head'):
        heads = model.get(key) or []
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            head.num_classes = own.decode_head.num_classes
    config.model = model
    for key in _BASELINE_SETTINGS:
        config[key] = source.get(key)
    return config


def with_digest_name(architecture: Architecture) -> Architecture:
    """Return a network named by a digest of its content, without provenance."""
    body = {**architecture.to_document(), 'name': '', 'provenance': {}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return replace(architecture, name=f'{architecture.space}_{digest[:8]}', provenance={})


def to_document(candidate: Candidate) -> dict:
    """Return a candidate as a JSON object for the training queue."""
    if isinstance(candidate, Architecture):
        return {'architecture': candidate.to_document()}
    return {'baseline': candidate.name}


def from_document(document: dict, baselines: Sequence[Baseline]) -> Candidate:
    """Return the candidate of a document of :func:`to_document`.

    Raises:
        UserError: The document is a baseline that is not in ``baselines``.
    """
    if 'architecture' in document:
        return load_architecture(document['architecture'])
    for baseline in baselines:
        if baseline.name == document['baseline']:
            return baseline
    raise UserError(f"baseline '{document['baseline']}' is not in the --baselines of this command")
