from dnas_mmseg.spaces.registry import SPACES


def test_stages_follow_each_other():
    space = SPACES['dnas']
    assert space.levels == ['path', 'connection', 'cell']
    assert [space.before(level) for level in space.levels] == [None, 'path', 'connection']
    assert space.stage('cell').config == 'dnas/dnas_l14_cell-search_gid5.py'
