from dnas_mmseg.spaces.scales import STEM, Node, neighbour_paths, size_at


def test_nodes_are_formatted_and_ordered():
    assert [str(node) for node in (Node(3, 1), Node(-1, 0), STEM)] == ['(3,1)', 'stem', 'stem']
    assert f'{Node(0, 0)} -> {Node(1, 1)}' == '(0,0) -> (1,1)'
    assert min(Node(2, 0), Node(1, 3), STEM) == STEM  # in the order of computation


def test_sizes_are_rounded_up():
    assert size_at((65, 64), 4) == (17, 16)


def test_neighbour_paths_differ_in_one_scale():
    assert list(neighbour_paths((0, 1))) == [(1, 1), (0, 0)]
    assert list(neighbour_paths((0, 1), first=1)) == [(0, 0)]
