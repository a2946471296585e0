"""List the trained models that come with the package, or show the card of one.

    dnas models
    dnas models naip_small                 # its card: data, bands, classes, scores, licence
    dnas models dnas_l14.onnx              # the card that dnas export wrote beside it
    dnas predict naip_small scene.tif --out-dir maps

A model's name stands for its config and checkpoint in `dnas predict` and `dnas export`.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, UsageError, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('model', nargs='?', help='name of a model, or path of an exported one')
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.mapping.pretrained import get_pretrained_model, list_pretrained_models

        if args.model is None:
            show_all(list_pretrained_models())
        elif Path(args.model).suffix in ('.onnx', '.xml'):
            card = Path(args.model).with_suffix('.card.md')
            if not card.is_file():
                raise UsageError(f'{card}: no such card; dnas export writes one beside the model')
            print(card.read_text(encoding='utf-8'))
        else:
            print(get_pretrained_model(args.model).card.read_text(encoding='utf-8'))


def show_all(models: dict) -> None:
    """Print a table of models."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ('name', 'bands', 'pixel, m', 'classes', 'parameters', 'mIoU, %'):
        table.add_column(heading, no_wrap=heading not in ('bands', 'classes'))
    for name, model in models.items():
        metadata = model.metadata
        scores = [f'{value:.1f}' for key, value in metadata.scores.items() if 'mIoU' in key]
        table.add_row(
            name,
            ', '.join(metadata.bands),
            '' if metadata.metres is None else f'{metadata.metres:g}',
            ', '.join(metadata.classes),
            f'{metadata.parameters:,}',
            ', '.join(scores),
        )
    Console().print(table)
    print('dnas models NAME shows the card of one: data, scores by class, licence')
