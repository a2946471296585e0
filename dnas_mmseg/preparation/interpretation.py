"""Band and class metadata inferred from files, and errors that list the missing options."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from dnas_mmseg.bands import RGB, band_names
from dnas_mmseg.classes import Colour, default_palette
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelValue, format_value

from .pairs import PairContent, find_value_colours, have_colours

_BLACK = '#000000'

_MAX_CLASSES = 64
"""Label values after which they are unlikely to be classes."""


class MissingSettingsError(DatasetError):
    """Metadata are missing in the files; the message has one line per option that sets them."""


def interpret(
    contents: Sequence[PairContent],
    *,
    bands: Sequence[str] = (),
    label_values: Mapping[str, str | None] | None = None,
    classes: Sequence[str] = (),
    unlabelled: Sequence[str] | None = None,
) -> tuple[DatasetDescription, list[str]]:
    """Infer the description of a data set from its files; arguments take precedence.

    Args:
        contents: Images, and labels that are rasters.
        bands: Band names in file order; default to those in the files.
        label_values: Class of each stored label value, None for unlabelled; defaults to a class
            per value. Values are colours if labels store them, or have colour tables and
            ``label_values`` lists colours or the tables differ.
        classes: Class names of the values that are classes, in ascending order; default to
            ``class_<value>``.
        unlabelled: Stored values that are unlabelled, as text, in addition to those of
            ``label_values``; ``'none'`` for none; 0 also stands for black in colours. Default to
            255 where it is no class.

    Returns:
        Description with bands, classes, palette and label values; and assumptions, one line each.

    Raises:
        MissingSettingsError: Files lack band names, or 0 or a negative value may be a class or
            unlabelled.
        DatasetError: Images differ in their bands, labels have values that ``label_values`` lacks,
            a value has no colour, or settings conflict.

    Example:
        >>> content = PairContent('a', 'a.tif', 'a.png', (8, 8), 'uint8', ('red', 'nir'))
        >>> content.values.update({0: 30, 255: 34})
        >>> interpret([content])[0].label_values
        {'0': 'class_0', '255': 'class_255'}
    """
    questions: list[str] = []
    notes: list[str] = []
    names = interpret_bands(contents, bands, questions, notes)
    if label_values is None:
        coloured = have_colours(contents)
        notes += _describe_tables(contents)
    else:
        coloured = any(text.startswith('#') for text in label_values)
    totals: Counter[LabelValue] = Counter()
    for content in contents:
        totals.update(content.colours if coloured else content.values)
    ignored = _unlabelled_values(totals, unlabelled)
    if label_values is None:
        label_values = _interpret_values(totals, classes, ignored, questions, notes)
    elif classes:
        raise DatasetError('--classes does not apply: --label-values has the names of the classes')
    elif unlabelled is not None:
        label_values = _without_unlabelled(label_values, ignored or set())
    if questions:
        raise MissingSettingsError('\n'.join(questions))
    known = {text.lower() for text in label_values}
    unknown = [value for value in totals if format_value(value) not in known]
    if unknown:
        total = max(totals.total(), 1)
        listed = ', '.join(
            f'{format_value(v)} ({100 * totals[v] / total:.2g} % of the pixels)'
            for v in unknown[:8]
        )
        raise DatasetError(
            f'the labels have values without a class: {listed}: add them to --label-values, with '
            f'an empty name for unlabelled ({format_value(unknown[0])}=)'
        )
    return (
        DatasetDescription(
            bands=names,
            classes=tuple(dict.fromkeys(filter(None, label_values.values()))),
            palette=_palette(label_values, contents),
            label_values=dict(label_values),
        ),
        notes,
    )


def interpret_bands(
    contents: Sequence[PairContent],
    bands: Sequence[str],
    questions: list[str],
    notes: list[str],
) -> tuple[str, ...]:
    """Return the names of the bands; add a question if they are unknown."""
    stored = Counter(content.bands for content in contents)
    if len({len(names) for names in stored}) > 1:
        listed = ', '.join(
            f'{len(names)} ({next(c.image for c in contents if c.bands == names)})'
            for names in stored
        )
        raise DatasetError(f'images of different numbers of bands: {listed}')
    ((names, _),) = stored.most_common(1)
    example = next(content for content in contents if content.bands == names)
    if bands:
        chosen = band_names(bands)
        if len(chosen) not in (len(names), len(names) + example.has_alpha):
            raise DatasetError(
                f'{example.image} has {len(names)} bands, but --bands has {len(chosen)}: '
                f'{", ".join(chosen)}'
            )
        return chosen
    if example.has_alpha:
        notes.append(
            f'{example.image}: a band is tagged as alpha (transparency) and not used; if it is '
            'another band, such as NIR, name all: --bands red green blue nir'
        )
    if all(names):
        if len(stored) > 1:
            other = next(content for content in contents if content.bands != names)
            questions.append(
                f'--bands: the files have different band names, {", ".join(names)} '
                f'({example.image}) and {", ".join(n or "none" for n in other.bands)} '
                f'({other.image}); name those of all files in file order'
            )
        return names
    known = ', '.join(name or f'unnamed band {i}' for i, name in enumerate(names, 1))
    examples = {3: RGB, 4: (*RGB, 'nir')}
    hint = ' '.join(examples.get(len(names), ('NAME', '...')))
    questions.append(
        f'--bands: {example.image} has {len(names)} bands ({known}); name them in file order, e.g. '
        f'--bands {hint}'
    )
    return ()


def _unlabelled_values(
    totals: Counter[LabelValue], unlabelled: Sequence[str] | None
) -> set[str] | None:
    """Return the stored values of ``--unlabelled``; empty for ``none``, None without the option."""
    if unlabelled is None:
        return None
    stored = {format_value(value) for value in totals}
    found = {text.lower() for text in unlabelled} - {'none'}
    if '0' in found and '0' not in stored and _BLACK in stored:
        found = found - {'0'} | {_BLACK}
    absent = sorted(found - stored)
    if absent:
        listed = ', '.join(map(format_value, sorted(totals, key=_order)))
        raise DatasetError(f'--unlabelled {" ".join(absent)}: the labels have {listed}')
    return found


def _without_unlabelled(
    label_values: Mapping[str, str | None], ignored: set[str]
) -> dict[str, str | None]:
    """Return the classes of label values with those of ``--unlabelled`` added.

    Raises:
        DatasetError: A value has a class and is unlabelled, or ``none`` is and a value has none.
    """
    for text, name in label_values.items():
        if name is not None and text.lower() in ignored:
            raise DatasetError(
                f'--unlabelled {text}: --label-values has {text}={name}: remove one of them'
            )
        if name is None and not ignored:
            raise DatasetError(
                f'--unlabelled none: --label-values has {text}= (unlabelled): remove one of them'
            )
    known = {text.lower() for text in label_values}
    return {**label_values, **dict.fromkeys(sorted(ignored - known))}


def _order(value: LabelValue) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _interpret_values(
    totals: Counter[LabelValue],
    classes: Sequence[str],
    unlabelled: set[str] | None,
    questions: list[str],
    notes: list[str],
) -> dict[str, str | None]:
    """Return the class of each label value; add a question if values may be unlabelled."""
    values = sorted(totals, key=_order)
    texts = [format_value(value) for value in values]
    total = max(totals.total(), 1)
    shares = {t: totals[v] / total for t, v in zip(texts, values, strict=True)}
    ignored = set(unlabelled or ())
    if unlabelled is None:
        if IGNORE in values and len(values) > 2:
            ignored.add(str(IGNORE))
            notes.append(
                f'label value 255 ({100 * shares["255"]:.2g} % of the pixels) counts as '
                'unlabelled; --unlabelled none makes it a class'
            )
        # Labels with 255 for unlabelled count their classes from 0.
        zeros = () if ignored else ('0', _BLACK)
        doubtful = [text for text in texts if text in zeros or text.startswith('-')]
        if doubtful and len(texts) > 2:
            listed = ', '.join(f'{t} ({100 * shares[t]:.2g} % of the pixels)' for t in doubtful)
            # Quoted, since # starts a comment in a shell.
            option = ' '.join(shlex.quote(text) for text in doubtful)
            questions.append(
                f'--unlabelled: label value {listed} is a class or unlabelled: --unlabelled '
                f'{option} or --unlabelled none'
                if len(doubtful) == 1
                else f'--unlabelled: label values {listed} are classes or unlabelled: --unlabelled '
                f'{option}, or some of them, or --unlabelled none'
            )
    codes = [text for text in texts if text not in ignored]
    if len(codes) > _MAX_CLASSES:
        raise DatasetError(
            f'the labels have {len(codes)} values, such as {", ".join(codes[:8])}: expected '
            'classes; merge them by --label-values'
        )
    if len(codes) < 2:
        raise DatasetError(
            f'the labels have the values {", ".join(texts)}, so fewer than two classes are left'
        )
    if classes and len(classes) != len(codes) and not questions:
        raise DatasetError(
            f'--classes has {len(classes)} names for the {len(codes)} values {", ".join(codes)}'
        )
    names = list(classes) or [f'class_{text.lstrip("#")}' for text in codes]
    mapped = dict(zip(codes, names, strict=False))
    return {text: mapped.get(text) for text in texts}


def _describe_tables(contents: Sequence[PairContent]) -> list[str]:
    """Return a note if colour tables differ."""
    for value, colours in find_value_colours(contents).items():
        if len(colours) > 1:
            (first, label), (second, other), *_ = colours.items()
            return [
                f'labels are read by the colours of their colour tables, which differ: {value} is '
                f'{format_value(first)} in {label} and {format_value(second)} in {other}; '
                '--label-values with integers reads the stored values'
            ]
    return []


def _palette(
    label_values: Mapping[str, str | None], contents: Sequence[PairContent]
) -> tuple[Colour, ...]:
    """Return a colour per class: that of its label or colour tables, else a default one."""
    declared: dict[str, Colour] = {}
    for table in dict.fromkeys(content.colour_table for content in contents):
        for value, colour in enumerate(table):
            declared.setdefault(str(value), colour)
    for value, used in find_value_colours(contents).items():
        declared[str(value)] = next(iter(used))
    colours: dict[str, Colour] = {}
    for text, name in label_values.items():
        if name is None or name in colours:
            continue
        if text.startswith('#'):
            red, green, blue = bytes.fromhex(text[1:])
            colours[name] = red, green, blue
        elif text in declared:
            colours[name] = declared[text]
    names = dict.fromkeys(filter(None, label_values.values()))
    found = [colours.get(name) for name in names]
    if None in found or len(set(found)) < len(found):
        return default_palette(len(names))
    return tuple(colour for colour in found if colour is not None)


def parse_label_values(words: Sequence[str]) -> dict[str, str | None]:
    """Parse ``VALUE=CLASS`` words; an empty class is unlabelled.

    Example:
        >>> parse_label_values(['10=trees', '20=trees', '0='])
        {'10': 'trees', '20': 'trees', '0': None}
    """
    result: dict[str, str | None] = {}
    for word in words:
        value, equals, name = word.partition('=')
        if not equals or not value:
            raise DatasetError(
                f"--label-values {word}: expected VALUE=CLASS, e.g. 10=trees or '0='"
            )
        if value in result:
            raise DatasetError(f'--label-values has {value} twice')
        result[value] = name or None
    return result
