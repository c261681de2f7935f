"""How many boxes can be kept when some pairs exclude one another: independent sets of a graph.

Exact for small groups of boxes that hang together; bounded from above, and approached from below, for
large ones.
"""

from __future__ import annotations

import numpy as np

from kfdet.core.coco import Bool, Int64

# The search doubles with every box at worst; real groups are far smaller.
_EXACT_UP_TO = 20


def components(edges: Int64) -> list[list[tuple[int, int]]]:
    """Returns the edges of each group of nodes that hang together.

    Args:
        edges: int64[E, 2], pairs of nodes.
    """
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    pairs = [(int(a), int(b)) for a, b in edges.tolist()]
    for a, b in pairs:
        parent[root(a)] = root(b)
    groups: dict[int, list[tuple[int, int]]] = {}
    for a, b in pairs:
        groups.setdefault(root(a), []).append((a, b))
    return list(groups.values())


def least_removed(group: list[tuple[int, int]]) -> int:
    """Returns how many nodes must go at least, so that no edge is left: a lower bound.

    Exact for groups of up to 20 nodes; else the size of a maximal matching, of which each edge
    costs one node.

    Args:
        group: Edges of nodes that hang together.
    """
    neighbours = _neighbours(group)
    if len(neighbours) <= _EXACT_UP_TO:
        return len(neighbours) - len(_largest(neighbours))
    matched: set[int] = set()
    for a, b in group:
        if a not in matched and b not in matched:
            matched |= {a, b}
    return len(matched) // 2


def removed_nodes(group: list[tuple[int, int]]) -> set[int]:
    """Returns nodes without which no edge is left: the fewest in small groups, few in large ones.

    Args:
        group: Edges of nodes that hang together.
    """
    neighbours = _neighbours(group)
    if len(neighbours) <= _EXACT_UP_TO:
        return set(neighbours) - _largest(neighbours)
    kept: set[int] = set()
    left = {node: set(others) for node, others in neighbours.items()}
    while left:
        node = min(left, key=lambda one: (len(left[one]), one))
        kept.add(node)
        for gone in (node, *left[node]):
            for other in left.pop(gone, ()):
                if other in left:
                    left[other].discard(gone)
    return set(neighbours) - kept


def keepable(nodes: int, edges: Int64) -> Bool:
    """Returns bool[nodes]: a largest set of nodes without an edge between them, or close to it."""
    kept = np.ones(nodes, np.bool_)
    for group in components(edges):
        kept[list(removed_nodes(group))] = False
    return kept


def _neighbours(group: list[tuple[int, int]]) -> dict[int, set[int]]:
    neighbours: dict[int, set[int]] = {}
    for a, b in group:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    return neighbours


def _largest(neighbours: dict[int, set[int]]) -> set[int]:
    """Returns a largest independent set by branching on the node with the most neighbours."""
    if not neighbours:
        return set()
    alone = next((n for n, others in neighbours.items() if len(others) <= 1), None)
    if alone is not None:
        # A node with one neighbour at most is in some largest set.
        return {alone} | _largest(_without(neighbours, {alone, *neighbours[alone]}))
    busiest = max(neighbours, key=lambda node: (len(neighbours[node]), node))
    kept = {busiest} | _largest(_without(neighbours, {busiest, *neighbours[busiest]}))
    left_out = _largest(_without(neighbours, {busiest}))
    return kept if len(kept) >= len(left_out) else left_out


def _without(neighbours: dict[int, set[int]], gone: set[int]) -> dict[int, set[int]]:
    return {node: others - gone for node, others in neighbours.items() if node not in gone}
