import itertools

from dnas_mmseg.spaces.densenas.cost import network_cost, penalties
from dnas_mmseg.spaces.densenas.decoding import build, decode
from dnas_mmseg.spaces.densenas.graph import FAMILIES

from .conftest import SCALES, all_paths, weights_of


def test_decoding_agrees_with_brute_force(space, rng):
    heads, layers = FAMILIES[space.family]
    for _ in range(20):
        edges, head_weights, layer_weights = (w.detach() for w in weights_of(space, rng))
        scores = [w.log().numpy() for w in (edges, head_weights, layer_weights)]
        found = decode(space, *scores)
        score = dict(zip(space.trellis.edges, scores[0], strict=True))
        best = max(
            all_paths(space),
            key=lambda path: sum(score[e] for e in itertools.pairwise((*path, space.end))),
        )
        assert space.path_of(found) == list(best)
        for source, block in zip(best, found.blocks[1:], strict=False):
            target = best[best.index(source) + 1]
            row = scores[1][space.inner.index((source, target))]
            assert block.head == heads[row.argmax()]
            rows = [scores[2][i] for i, (owner, _) in enumerate(space.layers) if owner == target]
            assert block.stack == tuple(layers[row.argmax()] for row in rows)
        assert 'skip' not in str(found.pruned().blocks)


def test_decoding_at_a_price_is_optimal(space, table, rng):
    weights = weights_of(space, rng)
    scores = [w.detach().log().numpy() for w in weights]
    score = dict(zip(space.trellis.edges, scores[0], strict=True))
    costs = []
    for price in (-2.0, 0.0, 0.5, 5.0, 100.0):
        found = decode(space, *scores, 0, penalties(space, SCALES, table, price))
        edges = itertools.pairwise(space.path_of(found))
        specs = dict(zip(edges, found.blocks[1:], strict=True))
        value = sum(score[e] for e in itertools.pairwise((*space.path_of(found), space.end)))
        value -= price * network_cost(space, found, SCALES, table)
        for path in all_paths(space):
            edges = list(itertools.pairwise(path))
            if all(e in specs for e in edges):
                heads = [specs[e].head for e in edges]
                stacks = [specs[e].stack for e in edges]
                other = build(space, path, heads, stacks, 'other')
                gain = sum(score[e] for e in itertools.pairwise((*path, space.end)))
                gain -= price * network_cost(space, other, SCALES, table)
                assert gain <= value + 1e-9
        costs.append(network_cost(space, found, SCALES, table))
    assert costs == sorted(costs, reverse=True)
