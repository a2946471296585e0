import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.datasets.list_files import read_lines


@pytest.mark.parametrize('content', ['\ufeffa\tä\r\nb\n', 'a\tä\nb'], ids=['Windows', 'Unix'])
def test_byte_order_mark_and_line_ends_are_stripped(tmp_path, content):
    (tmp_path / 'list.txt').write_bytes(content.encode())
    assert read_lines(tmp_path / 'list.txt') == ['a\tä', 'b']


def test_invalid_list_names_the_file(tmp_path):
    (tmp_path / 'list.txt').write_bytes('a\tä'.encode('latin-1'))
    with pytest.raises(DatasetError, match=r'list\.txt is not UTF-8'):
        read_lines(tmp_path / 'list.txt')
    with pytest.raises(DatasetError, match=r'none\.txt: no such list file'):
        read_lines(tmp_path / 'none.txt')
