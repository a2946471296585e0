"""Rank correlations of low-cost performance predictors with full training runs.

    python -m benchmarks.rank_correlations                  # resumes an interrupted run
    python -m benchmarks.rank_correlations --parts searches --searches work_dirs/search_*
    python -m benchmarks.rank_correlations --table

Networks are sampled uniformly from the space of DNAS (8 layers, base 16) and trained on NAIP tiles
for the full schedule of :mod:`benchmarks.selections`, a ninth and a third of it. The other
predictors are

- shared weights: a supernet with all edges and operations of the space, trained on one random
  network per step; its batch norms are calibrated for each network before scoring;
- a gradient search: the mean log probability of a network's core path, and of its operations at
  the nodes of the search.

Networks that the selection of a repeat trained briefly and the random search of the same repeat
fully are a further sample. Training runs are stored in benchmarks/trained_networks.csv, other
scores in benchmarks/cheap_scores.csv. Requires ``data/naip_rgbn``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS
from scipy.stats import kendalltau
from torch import Tensor, nn

from dnas_mmseg.engine.length import full_epochs
from dnas_mmseg.engine.running import train
from dnas_mmseg.models import DNASHead
from dnas_mmseg.models.layers.operation import sum_tensors
from dnas_mmseg.search.halving.networks import SpaceCandidates
from dnas_mmseg.search.halving.pacing import measure_pace
from dnas_mmseg.search.halving.plan import SelectionPlan
from dnas_mmseg.search.halving.schedule import Pace
from dnas_mmseg.search.halving.split import selection_lists, set_lists
from dnas_mmseg.search.halving.training import CandidateTrainings
from dnas_mmseg.search.history import SearchHistory
from dnas_mmseg.search.plan import SearchPlan
from dnas_mmseg.search.selection import Request
from dnas_mmseg.spaces.dnas.architecture import OPERATIONS, DNASArchitecture, NodeSpec
from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.dnas.lattice import Lattice
from dnas_mmseg.spaces.dnas.operations import Cell
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node
from dnas_mmseg.work_dir import PLAN_FILE

from .selections import EPOCHS, NETWORKS, ROOT, append_rows, network_row

SCORES = ROOT / 'benchmarks/cheap_scores.csv'
RUN = 'rank correlations'
LAYERS = 8
NETWORKS_DRAWN = 24
STEPS = 6000
"""Training steps of the supernet, as many as eight full training runs have."""

_SHARED = 'shared weights'
_PATH = 'path of a gradient search'
_OPERATIONS = 'operations of a gradient search'
_CALIBRATED = 16
"""Batches for calibrating the batch norms of a network, before each of its validations."""

_RESAMPLES = 10_000


def whole_lattice(layers: int) -> DNASArchitecture:
    """Return the lattice of all networks: a node reads the stem and all nodes of earlier layers."""
    specs: list[NodeSpec] = []
    for layer in range(layers):
        earlier = tuple(spec.node for spec in specs)
        for scale in range(min(layer + 1, NUM_SCALES)):
            specs.append(NodeSpec(Node(layer, scale), (STEM, *earlier), OPERATIONS))
    return DNASArchitecture(name='whole', level='cell', layers=layers, nodes=tuple(specs))


@MODELS.register_module()
class SharedWeights(Lattice):
    """Supernet that computes the network ``active`` of the space."""

    active: DNASArchitecture

    def __init__(self, layers: int, *args, **kwargs) -> None:
        super().__init__(whole_lattice(layers), *args, **kwargs)

    def build_cell(
        self, spec: NodeSpec, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> Cell:
        return Cell(spec.operations, in_channels, out_channels, norm_cfg)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images to the outputs of the active network, finest first."""
        height, width = x.shape[2:]
        maps = {STEM: self.stem(x.contiguous(memory_format=torch.channels_last))}
        for node, inputs, operations in self.active.nodes:
            stride = 4 * 2**node.scale
            size = -(-height // stride), -(-width // stride)
            terms = []
            for source in inputs:
                cell, x = self.cell(source, node), self.resized_input(maps[source], size)
                terms += [cell[name](x) for name in operations]
            maps[node] = sum_tensors(terms)
        return tuple(maps[node] for node in self.active.outputs)


@MODELS.register_module()
class SharedHead(DNASHead):
    """DNAS head that uses the weights of the active network's output scales."""

    scales: tuple[int, ...] = ()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the outputs of the active network, finest first, to logits."""
        size = inputs[0].shape[2:]
        resized = [F.interpolate(x, size, mode='bilinear', align_corners=True) for x in inputs]
        conv, *rest = self.convs[0]
        channels = [16 * 2**scale for scale in range(NUM_SCALES)]
        weights = conv.weight.split(channels, dim=1)
        weight = torch.cat([weights[scale] for scale in self.scales], 1)
        x = F.conv2d(torch.cat(resized, 1), weight, conv.bias, padding=1)
        for layer in (*rest, *self.convs[1:]):
            x = layer(x)
        return self.cls_seg(x)


def activate(model: nn.Module, network: DNASArchitecture) -> None:
    """Set the active network of a segmentor with shared weights."""
    model.backbone.active = network
    model.decode_head.scales = tuple(node.scale for node in network.outputs)


@HOOKS.register_module()
class SampleNetworkHook(Hook):
    """Hook that activates a random network before each step.

    Args:
        seed: Seed of the sampling.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        network = random_architecture(LAYERS, self.rng, 'random')
        activate(runner.model, network)


def calibrate(runner: Runner) -> None:
    """Re-estimate the running statistics of batch norms from training batches."""
    norms = [m for m in runner.model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean over all batches
    runner.model.train()
    with torch.no_grad():
        for _, batch in zip(range(_CALIBRATED), runner.train_dataloader, strict=False):
            data = runner.model.data_preprocessor(batch, training=True)
            runner.model(**data, mode='tensor')


class Measurement:
    """Sampled networks, their training runs and their predicted scores.

    Args:
        folder: Folder of the training runs.
    """

    def __init__(self, folder: Path) -> None:
        init_default_scope('mmseg')
        folder.mkdir(parents=True, exist_ok=True)
        network = SearchPlan(
            layers=LAYERS,
            config=str(ROOT / 'configs/dnas/dnas_l12_w16_naip.py'),
            options={'train_cfg.max_epochs': EPOCHS['naip']},
        )
        self.plan = SelectionPlan(network, budget=NETWORKS_DRAWN, rungs=(1 / 9, 1 / 3, 1.0))
        self.candidates = SpaceCandidates(self.plan)
        self.folder, self.config = folder, self.candidates.config
        self.lists = selection_lists(self.config, 0, folder)
        rng = np.random.default_rng(0)
        self.networks = [self.candidates.random(rng) for _ in range(NETWORKS_DRAWN)]

    def train_networks(self) -> None:
        """Train each network at each rung; skip those with a row in the results."""
        trainings = CandidateTrainings(self.plan, [], self.folder, self.lists)
        path = self.folder / 'pace.json'
        if not path.is_file():
            path.write_text(json.dumps(measure_pace(self.candidates, trainings).to_document()))
        pace = Pace(**json.loads(path.read_text()))
        done = {(row['network'], row['rung']) for row in own_rows()}
        for network in self.networks:
            costs = {m: self.candidates.cost_by(network, m) for m in ('macs', 'params')}
            for fidelity, share in enumerate(self.plan.rungs):
                if (network.name, str(round(share, 4))) in done:
                    continue
                seconds = pace.seconds(costs['macs'])
                epochs = pace.epochs(seconds, full_epochs(self.config), share)
                content = trainings.content(Request(network, fidelity, 0), epochs)
                score, facts = trainings.run(f'{network.name}-{fidelity}-0', content)
                row = network_row('naip', RUN, network.name, share, content, score, facts, costs)
                append_rows(NETWORKS, [row])

    def score_by_shared_weights(self, seed: int) -> None:
        """Train a supernet and score the networks with its weights."""
        config = Config(self.config.to_dict())
        set_lists(config, *(path.resolve() for path in self.lists))
        config.model.backbone = dict(
            type='SharedWeights', layers=LAYERS, in_channels=4, base_channels=16
        )
        config.model.decode_head.type = 'SharedHead'
        batch = config.train_dataloader.batch_size
        samples = len(self.lists[0].read_text().splitlines())
        config.train_cfg.max_epochs = STEPS // (samples // batch)
        config.train_cfg.val_interval = config.train_cfg.max_epochs + 1  # validated below
        config.custom_hooks = [dict(type='SampleNetworkHook', seed=seed)]
        config.default_hooks.checkpoint = None
        config.work_dir = str(self.folder / f'supernet_{seed}')
        config.randomness = dict(seed=seed)
        config.test_dataloader = config.test_cfg = config.test_evaluator = None
        began = time.monotonic()
        runner = train(config)
        trained = time.monotonic() - began
        rows: list[dict[str, object]] = []
        for network in self.networks:
            activate(runner.model, network)
            calibrate(runner)
            score = runner.val_loop.run()['mIoU']
            row = {'method': _SHARED, 'seed': seed, 'network': network.name, 'score': score}
            rows.append({**row, 'seconds': round(trained)})
        append_rows(SCORES, rows)  # all or none

    def score_by_search(self, folder: Path) -> None:
        """Score the networks by the final probabilities of a gradient search.

        Args:
            folder: Work dir of the search.
        """
        path, operations = (_probabilities(folder / stage) for stage in ('path', 'cell'))
        seed = json.loads((folder / PLAN_FILE).read_text())['seed']
        if any(r['method'] == _PATH and r['seed'] == str(seed) for r in score_rows()):
            return
        rows: list[dict[str, object]] = []
        for network in self.networks:
            nodes = [STEM, *map(Node, range(LAYERS), network.path)]
            edges = [path[target][source] for source, target in pairwise(nodes)]
            known = [spec for spec in network.nodes if spec.node in operations]
            chosen = [np.mean([operations[s.node][o] for o in s.operations]) for s in known]
            for method, logs in ((_PATH, edges), (_OPERATIONS, chosen)):
                row = {'method': method, 'seed': seed, 'network': network.name}
                score = float(np.mean(logs)) if logs else ''
                rows.append({**row, 'score': score, 'seconds': ''})
        append_rows(SCORES, rows)


def own_rows() -> list[dict[str, str]]:
    """Return the rows of this benchmark's training runs."""
    if not NETWORKS.is_file():
        return []
    with NETWORKS.open() as file:
        return [row for row in csv.DictReader(file) if row['run'] == RUN]


def score_rows() -> list[dict[str, str]]:
    """Return the rows of predicted scores."""
    if not SCORES.is_file():
        return []
    with SCORES.open() as file:
        return list(csv.DictReader(file))


def _probabilities(stage: Path) -> dict[Node, dict[Any, float]]:
    """Return log(probability * number of options) of a stage by node and option."""
    history = SearchHistory.load(stage)
    return {
        Node(*decision.node): {
            Node(*option) if isinstance(option, tuple) else option: math.log(p * len(values))
            for option, p in zip(decision.options, values, strict=True)
        }
        for decision, values in zip(
            history.decisions, history.epochs[-1].probabilities, strict=True
        )
    }


def correlation(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Return Kendall's tau and its 95 % percentile bootstrap interval over networks.

    Args:
        groups: Predicted and real scores, (networks,) each, per set of validation tiles; tau is
            averaged over the groups.
    """
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(_RESAMPLES):
        samples = [(pair, rng.integers(len(pair[0]), size=len(pair[0]))) for pair in groups]
        tau = _tau([(cheap[indices], real[indices]) for (cheap, real), indices in samples])
        if np.isfinite(tau):
            taus.append(tau)
    low, high = np.quantile(taus, [0.025, 0.975])
    return _tau(groups), float(low), float(high)


def _tau(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([kendalltau(cheap, real).statistic for cheap, real in groups]))


def selected_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return scores of short and full training runs of networks in both searches of a repeat."""
    with NETWORKS.open() as file:
        rows = [row for row in csv.DictReader(file) if row['data'] == 'naip']
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(f'{row["run"]}, {row["rung"]}', {})[row['network']] = float(row['mIoU'])
    groups = []
    for repeat in range(3):
        real = scores.get(f'random {repeat}, 1.0', {})
        cheap = scores.get(f'halving {repeat}, {round(1 / 9, 4)}', {})
        pair = _paired(cheap, real)
        if len(pair[0]) > 2:
            groups.append(pair)
    return groups


def _paired(cheap: dict[str, float], real: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    both = [network for network in real if network in cheap]
    return np.array([cheap[n] for n in both]), np.array([real[n] for n in both])


def table() -> str:
    """Return the correlations as a Markdown table."""
    trained: dict[str, dict[str, float]] = {}
    for row in own_rows():
        trained.setdefault(row['rung'], {})[row['network']] = float(row['mIoU'])
    real, ninth = trained.pop('1.0'), str(round(1 / 9, 4))
    found = {f'{share} of the schedule': [_paired(s, real)] for share, s in trained.items()}
    found[f'{ninth}, networks of selections'] = selected_pairs()
    found[f'{ninth}, all of them'] = [_paired(trained[ninth], real), *selected_pairs()]
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in score_rows():
        if row['score']:
            seeds = scores.setdefault(row['method'], {})
            seeds.setdefault(row['seed'], {})[row['network']] = float(row['score'])
    for method, seeds in scores.items():
        for seed, own in seeds.items():
            found[f'{method}, seed {seed}'] = [_paired(own, real)]
        if len(seeds) > 1:
            shared = set.intersection(*map(set, seeds.values()))
            means = {n: float(np.mean([own[n] for own in seeds.values()])) for n in shared}
            found[f'{method}, mean of {len(seeds)} seeds'] = [_paired(means, real)]
    lines = ["| Cheap score | Networks | Kendall's tau | 95 % interval |", '|---|---:|---:|---|']
    for name, groups in found.items():
        if groups:
            tau, low, high = correlation(groups)
            count = sum(len(cheap) for cheap, _ in groups)
            lines.append(f'| {name} | {count} | {tau:.2f} | {low:.2f} to {high:.2f} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=['trainings', 'supernets', 'searches'],
        default=['trainings', 'supernets'],
    )
    parser.add_argument('--supernets', type=int, default=2, metavar='N', help='number of seeds')
    parser.add_argument(
        '--searches', type=Path, nargs='+', default=[], help='work dirs of gradient searches'
    )
    parser.add_argument('--table', action='store_true', help='only print the table')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/rank_correlations')
    args = parser.parse_args()
    if not args.table:
        torch.set_num_threads(1)
        measurement = Measurement(args.work_dir)
        if 'trainings' in args.parts:
            measurement.train_networks()
        done = {int(row['seed']) for row in score_rows() if row['method'] == _SHARED}
        for seed in range(args.supernets if 'supernets' in args.parts else 0):
            if seed not in done:
                measurement.score_by_shared_weights(seed)
        for folder in args.searches if 'searches' in args.parts else []:
            measurement.score_by_search(folder)
    print(table())


if __name__ == '__main__':
    main()
