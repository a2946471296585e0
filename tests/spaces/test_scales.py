from dnas_mmseg.spaces.scales import STEM, Node


def test_places_are_called_by_layer_and_scale():
    assert [str(node) for node in (Node(3, 1), Node(-1, 0), STEM)] == ['(3,1)', 'stem', 'stem']
    assert f'{Node(0, 0)} -> {Node(1, 1)}' == '(0,0) -> (1,1)'
    assert min(Node(2, 0), Node(1, 3), STEM) == STEM  # in the order of computation
