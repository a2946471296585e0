"""List the pretrained models of the package, or show a model card.

    dnas models
    dnas models naip_small                 # model card: data, bands, classes, scores, licence
    dnas models dnas_l14.onnx              # model card of an exported model
    dnas predict naip_small scene.tif --out-dir maps

`dnas predict` and `dnas export` accept the name of a model instead of config and checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, UsageError, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'model', nargs='?', help='name of a pretrained model, or path of an exported model'
    )
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.mapping.pretrained import get_pretrained_model, list_pretrained_models

        if args.model is None:
            show_all(list_pretrained_models())
        elif Path(args.model).suffix in ('.onnx', '.xml'):
            card = Path(args.model).with_suffix('.card.md')
            if not card.is_file():
                raise UsageError(
                    f'{card}: no such model card; dnas export writes it next to the model'
                )
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
    print('dnas models NAME shows the model card: data, scores by class, licence')
