"""QGIS layer styles."""

from xml.etree import ElementTree

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.fbp import CLASSES, PALETTE
from dnas_mmseg.mapping.qgis_style import write_qgis_style


def test_a_style_has_every_class_with_its_colour(tmp_path):
    names = (*CLASSES, 'a < b & "c"\x0b\x00')
    write_qgis_style(tmp_path / 'm.qml', ClassScheme(names, (*PALETTE, (1, 2, 3))))
    root = ElementTree.parse(tmp_path / 'm.qml').getroot()
    renderer = root.find('pipe/rasterrenderer')
    assert (renderer.get('type'), renderer.get('band')) == ('paletted', '1')
    entries = renderer.findall('colorPalette/paletteEntry')
    assert [int(entry.get('value')) for entry in entries] == list(range(25))
    assert entries[15].get('label') == 'snow'
    assert entries[15].get('color') == '#fafafa'
    assert (entries[24].get('label'), entries[24].get('color')) == ('a < b & "c"  ', '#010203')
