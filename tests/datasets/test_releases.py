"""Releases of GID-5, GID-15 and Five-Billion-Pixels, and list files of the authors of DNAS."""

import numpy as np
import pytest
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.datasets.releases import FAMILY, Release, describe_source, find_release
from dnas_mmseg.raster import write_raster

IMAGES = {'8': 'Image__8bit_NirRGB/a.tif', '16': 'Image_16bit_BGRNir/a.tiff'}


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ('image', 'label', 'expected'),
    [
        ('image_NirRGB/a.tif', 'label_5classes/a_label.tif', ('gid5', 'rgb', 8)),
        ('image_NirRGB/a.tif', 'label_15classes/a_label.tif', ('gid15', 'rgb', 8)),
        (IMAGES['8'], 'Annotation__index/a_5label.png', ('gid5', 'index', 8)),
        (IMAGES['8'], 'Annotation__index/a_24label.png', ('fbp', 'index', 8)),
        (IMAGES['8'], 'GID15/Annotation__index/a_15label.png', ('gid15', 'index', 8)),
        (IMAGES['16'], 'GID5/Annotation__index/a_5label.png', ('gid5', 'index', 16)),
        (IMAGES['16'], 'Annotation__index/a_24label.png', ('fbp', 'index', 16)),
    ],
)
def test_release_is_detected_by_its_files(tmp_path, image, label, expected):
    touch(tmp_path, image, label)
    dataset, _, bits = expected
    release = find_release(tmp_path, bits)
    assert (release.dataset, release.label_convention, release.bits) == expected
    assert release.description.bands[0] == ('nir' if bits == 8 else 'blue')
    assert len(release.description.classes) == {'gid5': 5, 'gid15': 15, 'fbp': 24}[dataset]
    with pytest.raises(DatasetError, match=f'no {24 - bits}-bit release found'):
        find_release(tmp_path, 24 - bits)


def test_labels_of_several_data_sets_require_a_choice(tmp_path):
    touch(tmp_path, IMAGES['8'], 'Annotation__index/a_24label.png')
    touch(tmp_path, 'GID5/Annotation__index/a_5label.png')
    with pytest.raises(DatasetError, match='has labels of gid5, fbp: choose one with --dataset'):
        find_release(tmp_path)
    assert find_release(tmp_path, dataset='gid5').labels == 'GID5/Annotation__index/{name}_5label.*'
    with pytest.raises(DatasetError, match='no 8-bit release found'):
        find_release(tmp_path, dataset='gid15')


def test_label_values_have_no_convention(tmp_path):
    facts = tmp_path / 'facts.json'
    facts.write_text('{"label_values": {"1": "roof", "2": "road"}}')
    patterns = ('*.tif', '{name}.png')
    _, description = describe_source(tmp_path, *patterns, facts=facts)
    assert description.class_names == ('roof', 'road')
    with pytest.raises(DatasetError, match=r'facts\.json: label_values .*-convention train_id$'):
        describe_source(tmp_path, *patterns, facts=facts, label_convention='train_id')


def test_shared_classes_have_the_same_colours():
    descriptions = {name: Release(name, '', '', 'rgb').description for name in FAMILY}
    for one in descriptions.values():
        assert len(set(one.palette)) == len(set(one.classes)) == len(one.palette)
        assert (0, 0, 0) not in one.palette
    fine, finest = (
        dict(zip(f.classes, f.palette, strict=True)) for f in list(descriptions.values())[1:]
    )
    shared = fine.keys() & finest.keys()
    assert shared == {
        'urban residential', 'rural residential', 'paddy field', 'dry cropland', 'river', 'lake',
        'pond',
    }  # fmt: skip
    assert all(fine[name] == finest[name] for name in shared)


@pytest.mark.parametrize(
    ('dataset', 'image', 'label'),
    [
        (
            'GID5Dataset',
            'image/{s}/{s}_scale2_{r}_{c}_img.tif',
            'label/{s}/{s}_scale2_{r}_{c}_label.png',
        ),
        (
            'FBPDataset',
            'fbp_512/Image__8bit_NirRGB/train/{s}_{r}_{c}.tif',
            'fbp_512/Annotation__index/train/{s}_{r}_{c}_24label.png',
        ),
    ],
)
def test_list_files_of_the_authors(tmp_path, rng, dataset, image, label):
    """Index labels, rows and columns from 1, and no dataset.json."""
    lines, labels = [], []
    for row, column in ((1, 1), (1, 2), (15, 16)):
        place = dict(s='GF2_PMS1__L1A0000564539-MSS1', r=row, c=column)
        samples = rng.integers(0, 255, (4, 32, 32)).astype(np.uint8)
        write_raster(tmp_path / image.format(**place), samples)
        labels.append(rng.integers(0, 6, (32, 32)).astype(np.uint8))
        write_raster(tmp_path / label.format(**place), labels[-1])
        lines.append(f'{image.format(**place)}\t{label.format(**place)}\n')
    (tmp_path / 'train.lst').write_text(''.join(lines))
    steps = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
    read = DATASETS.build(
        dict(
            type=dataset, data_root=str(tmp_path), ann_file='train.lst', label_convention='index',
            pipeline=[*steps, dict(type='PackSegInputs')],
        )
    )  # fmt: skip
    assert len(read) == 3
    for sample, expected in zip(read, labels, strict=True):
        assert sample['inputs'].shape == (4, 32, 32)
        # The authors' loader subtracts 1, which turns 0 to 255 in uint8.
        np.testing.assert_array_equal(
            sample['data_samples'].gt_sem_seg.data[0].numpy(), expected - np.uint8(1)
        )
