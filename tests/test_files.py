import csv
import errno
import json
import math
import os
import stat

import numpy as np
import pytest
import torch

from dnas_mmseg.files import atomic_path, write_csv, write_json, write_text


def test_atomic_path_renames_with_default_permissions(tmp_path):
    path = tmp_path / 'new/folder/a.txt'
    with atomic_path(path) as temporary:
        temporary.write_text('half')
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == '.txt'
    assert path.read_text() == 'half'
    (tmp_path / 'plain.txt').write_text('')
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(
        (tmp_path / 'plain.txt').stat().st_mode
    )
    assert os.listdir(path.parent) == ['a.txt']


@pytest.mark.parametrize('failure', [KeyboardInterrupt, ValueError])
def test_failure_leaves_the_old_file(tmp_path, failure):
    write_text(tmp_path / 'a.txt', 'old')
    with pytest.raises(failure), atomic_path(tmp_path / 'a.txt') as temporary:
        temporary.write_text('new')
        raise failure
    assert (tmp_path / 'a.txt').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_full_disk_error_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r'No space left on device: .*a\.txt'),
        atomic_path(tmp_path / 'a.txt'),
    ):
        raise OSError(errno.ENOSPC, 'No space left on device')


def test_formulas_are_written_as_text(tmp_path):
    rows = [['=HYPERLINK("x")', '+1+1', '@a', '-2', '-b'], ['\tx', 'plain', -3.5, '', 'a=b']]
    write_csv(tmp_path / 'a.csv', rows)
    with (tmp_path / 'a.csv').open(newline='') as file:
        assert list(csv.reader(file)) == [
            ['\'=HYPERLINK("x")', "'+1+1", "'@a", '-2', "'-b"],
            ["'\tx", 'plain', '-3.5', '', 'a=b'],
        ]


def test_json_has_null_for_nan_and_lists_for_arrays(tmp_path):
    document = {'x': np.array([1.5, np.nan]), 2: (np.int64(3), math.inf), 't': torch.tensor([[2]])}
    write_json(tmp_path / 'a.json', document)
    expected = {'x': [1.5, None], '2': [3, None], 't': [[2]]}
    assert json.loads((tmp_path / 'a.json').read_text()) == expected
