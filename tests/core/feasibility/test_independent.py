"""Independent sets against trying all subsets."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.feasibility.independent import components, keepable, least_removed, removed_nodes

edges_of = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda pair: pair[0] != pair[1]),
    max_size=14,
)


def largest_by_trying(edges) -> int:
    nodes = sorted({node for edge in edges for node in edge})
    for size in range(len(nodes), -1, -1):
        for kept in itertools.combinations(nodes, size):
            if not any(a in kept and b in kept for a, b in edges):
                return size
    return 0


@given(edges_of)
def test_small_groups_lose_as_few_nodes_as_can_be(edges):
    nodes = {node for edge in edges for node in edge}
    groups = components(np.array(edges, np.int64).reshape(-1, 2))
    assert sorted(e for group in groups for e in group) == sorted(edges)
    assert sum(least_removed(group) for group in groups) == len(nodes) - largest_by_trying(edges)


@given(edges_of)
def test_what_is_kept_has_no_edge_and_is_as_much_as_can_be(edges):
    kept = keepable(9, np.array(edges, np.int64).reshape(-1, 2))
    assert not any(kept[a] and kept[b] for a, b in edges)
    alone = 9 - len({node for edge in edges for node in edge})
    assert kept.sum() == alone + largest_by_trying(edges)


@given(st.integers(21, 40), st.integers(0, 10_000))
def test_large_groups_are_bounded_from_both_sides(nodes, seed):
    rng = np.random.default_rng(seed)
    ring = [(i, (i + 1) % nodes) for i in range(nodes)]
    more = [tuple(sorted(rng.choice(nodes, 2, replace=False).tolist())) for _ in range(nodes // 4)]
    (group,) = components(np.array(ring + more, np.int64))
    gone = removed_nodes(group)
    assert all(a in gone or b in gone for a, b in group)
    assert nodes // 2 - nodes // 4 <= least_removed(group) <= len(gone)


def test_groups_that_do_not_touch_are_apart():
    groups = components(np.array([[0, 1], [5, 6], [1, 2]]))
    assert sorted(map(sorted, groups)) == [[(0, 1), (1, 2)], [(5, 6)]]
