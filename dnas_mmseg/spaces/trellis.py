"""Graphs whose paths represent networks: best path and mean over all paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

N = TypeVar('N', bound=Hashable)
S = TypeVar('S', bound=Hashable)

_TIE = 1e-9
"""Difference up to which scores count as equal: above float64 rounding errors of their sums."""


@dataclass(frozen=True)
class Trellis(Generic[N]):
    """A directed acyclic graph whose paths from its start to its ends represent networks.

    Attributes:
        edges: Edges (source, target); each node's incoming edges precede its outgoing ones.
        start: Start of all paths, the source of the first edge.
        ends: Nodes at which paths may end.
    """

    edges: tuple[tuple[N, N], ...]
    start: N
    ends: tuple[N, ...]

    @cached_property
    def incoming(self) -> dict[N, list[int]]:
        """Indices of each node's incoming edges."""
        return _grouped(target for _, target in self.edges)

    @cached_property
    def outgoing(self) -> dict[N, list[int]]:
        """Indices of each node's outgoing edges."""
        return _grouped(source for source, _ in self.edges)

    def best_path(self, scores: Iterable[float]) -> list[N]:
        """Return the path with the largest sum of edge scores (Viterbi algorithm).

        If scores are logarithms of weights, this path has the largest product of weights. Ties go
        to the earlier edge of a node and to the earlier end, which is the finer one if sources and
        ends are listed finest first.

        Args:
            scores: Scores of the edges; edges of score -inf are excluded.

        Returns:
            Nodes of the path, including the start and the end.

        Raises:
            ValueError: No path leads from the start to an end.
        """
        score: dict[N, float] = {self.start: 0.0}
        came_from: dict[N, N] = {}
        for (source, target), gain in zip(self.edges, scores, strict=True):
            if source not in score or gain == -math.inf:
                continue
            candidate = score[source] + gain
            if target not in score or candidate > score[target] + _TIE:
                score[target], came_from[target] = candidate, source
        best: N | None = None
        for end in self.ends:
            if end in score and (best is None or score[end] > score[best] + _TIE):
                best = end
        if best is None:
            raise ValueError(f'no path leads from {self.start} to any of {list(self.ends)}')
        path = [best]
        while path[-1] != self.start:
            path.append(came_from[path[-1]])
        return path[::-1]

    def mean_over_paths(self, weights: Tensor, costs: Sequence[float | Tensor]) -> Tensor:
        """Return the mean cost of the paths, weighted by the products of their edge weights.

        The mean is exact and takes one pass over the edges: each node stores the log-sum of the
        weights of the paths to it, and their mean cost. If the weights of each node's outgoing
        edges sum to 1, it equals the chained cost estimation of DenseNAS (section 3.4).

        Args:
            weights: Weights of the edges, (edges,), positive.
            costs: Costs of the edges, numbers or scalar tensors.

        Returns:
            Mean cost, a scalar, differentiable in the weights and costs.
        """
        arriving: dict[N, list[tuple[Tensor, Tensor]]] = {}
        zero = weights.new_zeros(())
        means: dict[N, tuple[Tensor, Tensor]] = {self.start: (zero, zero)}

        def mean_at(node: N) -> tuple[Tensor, Tensor]:
            if node not in means:
                means[node] = over(arriving[node])
            return means[node]

        def over(choices: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
            logs, values = map(torch.stack, zip(*choices, strict=True))
            return logs.logsumexp(0), (logs.softmax(0) * values).sum()

        logs = weights.log().unbind()
        for (source, target), log, cost in zip(self.edges, logs, costs, strict=True):
            log_before, before = mean_at(source)
            arriving.setdefault(target, []).append((log_before + log, before + cost))
        reached = [end for end in self.ends if end in means or end in arriving]
        return over([mean_at(end) for end in reached])[1]

    def unfolded(self, start: S, after: Callable[[S, N], S]) -> UnfoldedTrellis[S]:
        """Return the trellis of states: nodes plus the part of the path that costs depend on.

        If the cost of an edge depends on earlier nodes of the path, states contain these nodes, so
        that the cost depends on the state only.

        Args:
            start: State at the start.
            after: Function from a state and the next node to the next state. States of different
                nodes must differ.
        """
        states: dict[N, list[S]] = {self.start: [start]}
        edges, origins = [], []
        for node, indices in self.outgoing.items():
            for state in states.get(node, ()):
                for index in indices:
                    target = self.edges[index][1]
                    following = after(state, target)
                    edges.append((state, following))
                    origins.append(index)
                    if following not in states.setdefault(target, []):
                        states[target].append(following)
        ends = tuple(state for end in self.ends for state in states.get(end, ()))
        return UnfoldedTrellis(tuple(edges), start, ends, tuple(origins))


@dataclass(frozen=True)
class UnfoldedTrellis(Trellis[S]):
    """A trellis of states whose paths correspond to the paths of another trellis.

    Attributes:
        origins: For each edge, index of the corresponding edge of the original trellis.
    """

    origins: tuple[int, ...]


def _grouped(nodes: Iterable[N]) -> dict[N, list[int]]:
    groups: dict[N, list[int]] = {}
    for index, node in enumerate(nodes):
        groups.setdefault(node, []).append(index)
    return groups
