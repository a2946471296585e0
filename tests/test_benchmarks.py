"""The code of the benchmarks runs: the GPU benchmark on a CPU, and the converter of its tiles."""

import csv
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.naip import SPLIT_LIST, convert_naip
from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.raster import read_raster, write_raster

from .conftest import ROOT


@pytest.mark.long
def test_the_benchmark_of_gpus_runs_on_a_cpu():
    command = ['-m', 'benchmarks.devices', '--device', 'cpu', '--sizes', '64', '--repeat', '1']
    command += ['--batch', '1', '--models', 'DNAS L=12', 'HRNet-W18']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'Predictions, one image of 4 x 64 x 64, cpu' in done.stdout
    for row in (
        '| DNAS L=12 | plain, float32 |',
        '| HRNet-W18 | deployed, bfloat16 |',
        '| DNAS L=12 | channels_last, bfloat16 |',
        '| search, cell stage, L=12 | contiguous, float32 |',
    ):
        assert row in done.stdout, done.stdout


def test_the_naip_converter_makes_the_shared_tiles(shared, tmp_path):
    """From a folder laid out as the public source is."""
    tiles = shared / 'data/naip_rgbn'
    source = tmp_path / 'dataset_split'
    with SPLIT_LIST.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        folder = source / row['source_split']
        (folder / 'img').mkdir(parents=True, exist_ok=True)
        shutil.copy(
            tiles / f'images/naip_{row["tile"]}.tif', folder / f'img/tile_{row["tile"]}.tif'
        )
        mask = read_raster(tiles / f'labels_orig/naip_{row["tile"]}.png')
        write_raster(folder / f'mask/mask_{row["tile"]}.tif', mask)
    description = convert_naip(source, tmp_path / 'out')
    for split in ('train', 'val', 'test'):
        lines = (tmp_path / f'out/{split}.txt').read_text().splitlines()
        assert sorted(lines) == sorted((tiles / f'{split}.txt').read_text().splitlines())
        for line in lines[:5]:
            for part in line.split('\t'):
                np.testing.assert_array_equal(
                    read_raster(tmp_path / 'out' / part), read_raster(tiles / part)
                )
    assert description.class_shares == pytest.approx(
        (0.0449, 0.2064, 0.2439, 0.4892, 0.0156), abs=1e-4
    )


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='is not the dataset_split folder'):
        convert_naip(tmp_path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
