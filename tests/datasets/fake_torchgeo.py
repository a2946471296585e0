"""A module in the place of torchgeo, with a small data set."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

LOAD = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
S2 = ('B02', 'B03', 'B04', 'B08')


class NonGeoDataset:
    pass


class GeoDataset:
    pass


class RasterDataset(GeoDataset):
    pass


class DatasetNotFoundError(FileNotFoundError):
    pass


class Fields(NonGeoDataset):
    """Four bands of Sentinel-2, three classes; the first band determines the class."""

    splits = ('train', 'val')
    all_bands = S2
    rgb_bands = ('B04', 'B03', 'B02')
    classes = ('unknown', 'field', 'water')
    cmap: object = {0: (0, 0, 0, 0), 1: (0, 200, 0, 255), 2: (0, 0, 200, 255)}
    size = 6

    def __init__(
        self, root='data', split='train', bands=all_bands, transforms=None, download=False
    ):
        if not (Path(root) / split).is_dir():
            raise DatasetNotFoundError(
                f"Dataset not found in `root='{root}'`\nand `download=False`"
            )
        self.bands = bands
        self.offset = 0 if split == 'train' else 100

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        rng = np.random.default_rng(self.offset + index)
        mask = np.repeat(rng.integers(0, 3, (4, 8)), 8, axis=0).repeat(4, axis=1)
        image = rng.integers(0, 100, (4, 32, 32)) + 1000 * mask
        places = [S2.index(band) for band in self.bands]
        return self.sample(torch.from_numpy(image[places]).float(), torch.from_numpy(mask))

    def sample(self, image, mask):
        return dict(image=image, mask=mask)


def variant(**attributes):
    return type('Variant', (Fields,), attributes)


@pytest.fixture
def fake(monkeypatch):
    """Function that adds classes to a module in the place of ``torchgeo.datasets``."""
    module = ModuleType('torchgeo.datasets')
    for cls in (NonGeoDataset, GeoDataset, RasterDataset, DatasetNotFoundError, Fields):
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, 'torchgeo', ModuleType('torchgeo'))
    monkeypatch.setitem(sys.modules, 'torchgeo.datasets', module)
    return lambda **classes: [setattr(module, name, cls) for name, cls in classes.items()]


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        (tmp_path / 'fields' / split).mkdir(parents=True)
    return str(tmp_path / 'fields')


@pytest.fixture
def fields(fake, root):
    """Function that builds a data set; ``cls`` replaces the class."""

    def build(cls=Fields, **settings):
        fake(Fields=cls)
        settings = dict(root=root, split='train', pipeline=LOAD) | settings
        return DATASETS.build(dict(type='TorchGeoDataset', dataset='Fields', **settings))

    return build
