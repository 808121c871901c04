"""Louvain's communities are networkx's, level by level and node by node; planted ones are found."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from inception_viz.communities import communities, graph_of, louvain


def weights(seed: int, nodes: int, density: float, loops: bool) -> sparse.csr_array:
    """A symmetric random matrix, as few as no weights in it."""
    generator = np.random.default_rng(seed)
    upper = np.triu(np.where(generator.random((nodes, nodes)) < density, generator.random((nodes, nodes)), 0), 0 if loops else 1)
    return sparse.csr_array(upper + np.triu(upper, 1).T)


def as_labels(groups: list[set[int]], nodes: int) -> list[int]:
    return [next(label for label, group in enumerate(groups) if node in group) for node in range(nodes)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.02, 0.1, 0.5]), st.sampled_from([0.1, 1.0, 5.0]), st.booleans(), st.integers(0, 3)
)  # fmt: skip
def test_every_level_is_that_of_networkx(seed: int, nodes: int, density: float, resolution: float, loops: bool, order: int) -> None:
    matrix = weights(seed, nodes, density, loops)
    theirs = nx.community.louvain_partitions(nx.from_scipy_sparse_array(matrix), resolution=resolution, seed=order)
    expected = [as_labels(level, nodes) for level in theirs]
    assert [level.tolist() for level in louvain(graph_of(matrix), resolution, order)] == expected


def test_planted_communities_are_found() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(6), 50)
    within = np.triu(generator.random((300, 300)) < np.where(truth[:, None] == truth, 0.3, 0.01), 1)
    found = communities(graph_of(sparse.csr_array((within | within.T).astype(float))))
    assert found.tolist() == truth.tolist()


@pytest.mark.parametrize("nodes", [1, 5])
def test_nodes_that_nothing_joins_stay_alone(nodes: int) -> None:
    assert communities(graph_of(sparse.csr_array((nodes, nodes)))).tolist() == list(range(nodes))
