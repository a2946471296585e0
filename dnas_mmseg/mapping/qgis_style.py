"""QGIS layer styles of class maps."""

from __future__ import annotations

import os
from xml.etree import ElementTree

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.files import write_text


def write_qgis_style(path: str | os.PathLike, classes: ClassScheme) -> None:
    """Write a QGIS layer style with class names and colours.

    QGIS loads it automatically with the map of the same name.

    Args:
        path: Path of the style: the path of the map with the suffix ``.qml``.
        classes: Names and colours of the classes.
    """
    root = ElementTree.Element('qgis', version='3.22', styleCategories='Symbology')
    pipe = ElementTree.SubElement(root, 'pipe')
    renderer = ElementTree.SubElement(
        pipe, 'rasterrenderer', type='paletted', band='1', opacity='1', alphaBand='-1'
    )
    entries = ElementTree.SubElement(renderer, 'colorPalette')
    for value, (name, colour) in enumerate(classes):
        ElementTree.SubElement(
            entries, 'paletteEntry', value=str(value), label=_printable(name), alpha='255',
            color='#' + ''.join(f'{int(part):02x}' for part in colour),
        )  # fmt: skip
    ElementTree.indent(root)
    header = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    write_text(path, header + ElementTree.tostring(root, encoding='unicode') + '\n')


def _printable(name: str) -> str:
    """Replace control characters, which are invalid in XML, by spaces."""
    return ''.join(c if c.isprintable() else ' ' for c in name)
