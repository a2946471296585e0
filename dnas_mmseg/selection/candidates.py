"""All candidates of a selection: its families, and those that are tried first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.engine.config_checks import warn
from dnas_mmseg.engine.configs import load_config, override_config
from dnas_mmseg.errors import UserError, did_you_mean
from dnas_mmseg.runs.network import network_config, require_network
from dnas_mmseg.spaces.registry import SPACES, load_architecture

from .families import (
    Candidate,
    ConfigFamily,
    Family,
    SpaceFamily,
    SpaceSettings,
    adapt_to_data,
)
from .plan import SelectionPlan
from .portfolio import PORTFOLIO, Member

OWN = 'own'
"""Name of the family of the user's config; that of the file may change when a folder is moved."""

_NOISE = 1.0
"""Standard deviation of mIoU over seeds, in points, until repeats measure it; 1.1 was measured on
the NAIP tiles (benchmarks/selection.md)."""


class CandidateSet:
    """Candidates of a plan, for :func:`dnas_mmseg.selection.algorithm.selection_steps`.

    Args:
        plan: Settings of the selection.

    Attributes:
        config: Config of the plan on the user's data.
        families: Families by name.
        initial: Candidates to try first, in order.
        given: Those of ``--candidates``.
        labels: Names of known candidates for reports.
        excluded: Reasons for which families cannot take part, by name.
        latencies: Measured latencies of candidates of configs, in seconds, by name.
        fidelities: Cost of a training at each rung; set when the lengths are known.

    Raises:
        UserError: A family is unknown or invalid, or none can take part.
    """

    continues = True
    noise = _NOISE

    def __init__(self, plan: SelectionPlan) -> None:
        init_default_scope('mmseg')
        self.plan = plan
        self.fidelities: tuple[float, ...] = (1.0,)
        members = self._members()
        self.config = load_data_config(plan)
        DATASETS.build(self.config.train_dataloader.dataset)  # raises if the data cannot be read
        self.families: dict[str, Family] = {}
        self.initial: tuple[Candidate, ...] = ()
        self.given: set[Candidate] = set()
        self.labels: dict[Candidate, str] = {}
        self.excluded: dict[str, str] = {}
        self.latencies: dict[str, float] = {}
        for member in members:
            self._add(member)
        self._add_architectures()
        if not self.families:
            reasons = '; '.join(f'{name}: {text}' for name, text in self.excluded.items())
            raise UserError(f'no family can take part: {reasons}')
        self._open = [family for family in self.families.values() if family.size > 1]

    def _members(self) -> list[Member]:
        """Return the networks of the families of the plan.

        The user's own network is the first one of the portfolio.

        Raises:
            UserError: A family is unknown, or two have the same name.
        """
        if not self.plan.families:
            return [Member(OWN, self.plan.config, 'your config'), *PORTFOLIO]
        members = []
        known = {member.family: member for member in PORTFOLIO}
        for name in self.plan.families:
            if name in known:
                members.append(known[name])
            elif name in SPACES:
                members.append(Member(name, '', name))
            elif name.endswith('.py') or '::' in name:
                stem = Path(name).stem
                members.append(Member(re.sub(r'[^\w.-]', '_', stem), name, stem))
            else:
                names = list(dict.fromkeys([*known, *SPACES]))
                raise UserError(
                    f"family '{name}': expected a config (.py) or one of {', '.join(names)}"
                    + did_you_mean(name, names)
                )
        names = [member.family for member in members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f'families {", ".join(twice)}: two have this name; rename a config')
        return members

    def _add(self, member: Member) -> None:
        """Add a family and its portfolio network; one that cannot be built is excluded."""
        plan = self.plan
        is_own = member.config == plan.config
        is_given = is_own or member.family in plan.families or member.config in plan.families
        try:
            if member.family in SPACES:
                self._add_space(member)
                return
            config = self.config if is_own else load_config(member.config)
            family = ConfigFamily(member.family, config, self.config, plan.cost_size)
        except (UserError, OSError, ImportError) as error:
            if is_given:
                raise
            self.excluded[member.family] = str(error)
            warn(f'{member.family} is excluded from the selection: {error}')
            return
        candidate = family.default
        own = self.families.get(OWN)
        if isinstance(own, ConfigFamily):
            adapted = adapt_to_data(own.config(own.default), self.config)  # as others are
            if adapted.model == family.config(candidate).model:
                return  # the user's config is this network of the portfolio
        self.families[family.name] = family
        self.initial += (candidate,)
        self.labels[candidate] = member.label

    def _add_space(self, member: Member) -> None:
        plan = self.plan
        settings = SpaceSettings(member.family, plan.config, plan.data_root, plan.options)
        table = plan.latency_table
        family = SpaceFamily(settings, plan.layers, plan.cost_size, table)
        self.families[family.name] = family
        if not member.config:
            return
        architecture = load_architecture(Config.fromfile(member.config).model.backbone.architecture)
        try:
            candidate = family.parse(architecture.pruned())
        except (UserError, KeyError, ValueError, IndexError) as error:
            warn(f'{member.label} is not tried: it is not in the space of your config ({error})')
            return
        self.initial += (candidate,)
        self.labels[candidate] = member.label

    def _add_architectures(self) -> None:
        """Add the architectures of ``--candidates``.

        Raises:
            UserError: An architecture is invalid, or its space is not among the families.
        """
        for source in self.plan.candidates:
            architecture = load_architecture(source)
            family = self.families.get(architecture.space)
            if family is None:
                raise UserError(
                    f'--candidates {source}: its space {architecture.space} is not among the '
                    f'families ({", ".join(self.families)}): add it to --families'
                )
            candidate = family.parse(architecture.pruned())
            self.initial = (candidate, *(c for c in self.initial if c != candidate))
            self.given.add(candidate)
            self.labels[candidate] = architecture.name

    def exclude(self, name: str, reason: str) -> None:
        """Remove a family that cannot take part."""
        self.excluded[name] = reason
        del self.families[name]
        self.initial = tuple(c for c in self.initial if c.family != name)
        self._open = [family for family in self.families.values() if family.size > 1]

    def affordable(self, candidate: Candidate) -> bool:
        """Return whether a candidate is within the limit of the plan."""
        return self.plan.limit is None or self.cost(candidate) <= self.plan.limit

    def random(self, rng: np.random.Generator) -> Candidate:
        """Sample a candidate of a family that is sampled uniformly."""
        families = self._open or list(self.families.values())
        return families[int(rng.integers(len(families)))].random(rng)

    def neighbours(self, candidate: Candidate, rng: np.random.Generator) -> list[Candidate]:
        """Return candidates of the same family that differ in a single choice."""
        return self.families[candidate.family].neighbours(candidate, rng)

    def encode(self, candidate: Candidate) -> np.ndarray:
        """Return the features of a candidate, (features,)."""
        return self.families[candidate.family].encode(candidate)

    def family(self, candidate: Candidate) -> str:
        """Return the name of a candidate's family."""
        return candidate.family

    def is_searched(self, candidate: Candidate) -> bool:
        """Return whether a candidate is an architecture of a search space."""
        return self.families[candidate.family].is_searched

    def cost(self, candidate: Candidate) -> float:
        """Return the cost of a candidate in the metric of the plan."""
        return self.cost_by(candidate, self.plan.cost)

    def cost_by(self, candidate: Candidate, metric: str) -> float:
        """Return the cost of a candidate in a metric; a latency is measured once per selection."""
        if metric == 'latency' and candidate.name in self.latencies:
            return self.latencies[candidate.name]
        return self.families[candidate.family].cost(candidate, metric)

    def full_config(self, candidate: Candidate) -> Config:
        """Return the config of a candidate on the user's data, with its own schedule."""
        return self.families[candidate.family].config(candidate)

    def label(self, candidate: Candidate) -> str:
        """Return the name of a candidate in reports."""
        return self.labels.get(candidate, candidate.name)

    def parse(self, document: Mapping[str, Any]) -> Candidate:
        """Return the candidate of a document of :meth:`Candidate.to_document`.

        Raises:
            UserError: The families of this selection do not contain it.
        """
        family = self.families.get(document['family'])
        if family is None:
            raise UserError(f"family '{document['family']}' is not among the --families")
        return family.parse(document['choice'])


def load_data_config(plan: SelectionPlan) -> Config:
    """Return the config of a plan; one without a model gets the default network of DNAS."""
    config = load_config(plan.config, data_root=plan.data_root)
    if not config.get('model'):
        return network_config(SpaceSettings('dnas', plan.config, plan.data_root, plan.options))
    require_network(config)
    override_config(config, plan.options)
    config.pop('work_dir', None)
    return config
