"""Tables of the probabilities of a search, with a slider for the epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.visualization.html_page import HeatMap

from .history import SearchHistory

_MAX_EPOCHS = 60
"""Maximum number of epochs on the slider. All probabilities are in the page, so that more would
make it large; 60 steps are finer than a slider resolves comfortably."""

_TITLES = {
    'operation': 'Operation probabilities of each node',
    'gate': 'Probability of each gated edge',
    'incoming': 'Probabilities of the inputs of each node',
    'outgoing': 'Probabilities of the outputs of each node',
}


def probability_tables(history: SearchHistory) -> list[HeatMap]:
    """Return a table of probabilities (options by nodes) for each kind of decision.

    Each table has a slider for the epoch and tooltips; decoded operations have a border.
    """
    kinds = list(dict.fromkeys(decision.kind for decision in history.decisions))
    return [_table(history, kind) for kind in kinds]


def _table(history: SearchHistory, kind: str) -> HeatMap:
    picked = [i for i, decision in enumerate(history.decisions) if decision.kind == kind]
    decisions = [history.decisions[i] for i in picked]
    labels = [_labels(decision) for decision in decisions]
    options = list(dict.fromkeys(label for own in labels for label in own))
    columns = [_place(decision) for decision in decisions]
    # Row by row, the column of each cell and the index of its option, if the decision has it.
    cells = [
        (column, own.index(option) if option in own else None)
        for option in options
        for column, own in enumerate(labels)
    ]
    last = len(history.epochs) - 1
    shown = sorted({round(x) for x in np.linspace(0, last, min(_MAX_EPOCHS, last + 1))})
    epochs = []
    for i in shown:
        epoch = history.epochs[i]
        values = [
            None if option is None else round(epoch.probabilities[picked[column]][option], 3)
            for column, option in cells
        ]
        chosen = epoch.architecture.selected_operations if kind == 'operation' else {}
        decoded = [
            j
            for j, (column, option) in enumerate(cells)
            if option is not None
            and decisions[column].options[option] in chosen.get(decisions[column].node, ())
        ]
        epochs.append({'epoch': epoch.epoch, 'values': values, 'decoded': decoded})
    names = [
        f'{options[j // len(columns)]} of {columns[j % len(columns)]}' for j in range(len(cells))
    ]
    content = {'epochs': epochs, 'names': names, 'last': history.epochs[-1].epoch}
    title = _TITLES.get(kind, f'The {kind} decisions')
    return HeatMap(title, columns, options, content)


def _labels(decision: Decision) -> list[str]:
    """Return the labels of the options: their scales if these are distinct, else their nodes."""
    if decision.kind == 'gate':
        return ['selected']
    labels = [
        option if isinstance(option, str) else f'1/{4 * 2 ** option[1]:g}'
        for option in decision.options
    ]
    if len(set(labels)) < len(labels):
        return [str(option) for option in decision.options]
    return labels


def _place(decision: Decision) -> str:
    """Return the label of a decision: its node, or both nodes of a gated edge."""
    node = _short(decision.node)
    if decision.kind == 'gate':
        return f'{_short(decision.options[0])} → {node}'
    return node


def _short(node: Sequence[int] | str) -> str:
    if isinstance(node, str):
        return node
    return 'stem' if node[0] < 0 else ','.join(map(str, node))
