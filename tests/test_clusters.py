"""Clusters: planted ones are found, the slow twin agrees, relabelling changes nothing, and edges of the range behave."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from inception_viz import clusters
from inception_viz.architecture import Block, Branch
from inception_viz.correlations import Correlation, pearson
from inception_viz.errors import UnknownChoice
from tests import naive


def planted(seed: int, groups: int, size: int, n: int = 400, strength: float = 1.5) -> tuple[Correlation, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(groups), size)
    values = strength * generator.normal(size=(groups, n))[truth] + generator.normal(size=(groups * size, n))
    return pearson(torch.from_numpy(values)), truth


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("groups", [3, 6])
def test_planted_clusters_are_found(method: str, groups: int) -> None:
    correlation, truth = planted(groups, groups, 12)
    found = clusters.find(correlation, method)
    assert clusters.agreement(found.labels, truth) > 0.95
    assert found.count == groups


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_average_linkage_is_that_of_the_definition(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).normal(size=(9, 15))
    correlation = pearson(torch.from_numpy(values))
    found = clusters.find(correlation, "average linkage", count)
    assert {frozenset(found.members(k).tolist()) for k in range(found.count)} == naive.average_linkage(
        1 - correlation.r.astype(float), count
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_relabelling_channels_relabels_clusters(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(12, 40))
    order = np.random.default_rng(seed + 1).permutation(12)
    a = clusters.find(pearson(torch.from_numpy(values)), "average linkage").labels
    b = clusters.find(pearson(torch.from_numpy(values[order])), "average linkage").labels
    assert clusters.agreement(a[order], b) == 1.0


@pytest.mark.parametrize("method", clusters.METHODS)
def test_the_same_input_gives_the_same_clusters(method: str) -> None:
    correlation, _ = planted(1, 4, 10, strength=0.7)
    assert np.array_equal(clusters.find(correlation, method).labels, clusters.find(correlation, method).labels)


def test_the_silhouette_is_sklearns() -> None:
    correlation, truth = planted(2, 4, 8, strength=0.8)
    distance = 1 - correlation.r.astype(np.float64)
    np.fill_diagonal(distance, 0)
    assert clusters.silhouette(distance, truth) == pytest.approx(silhouette_score(distance, truth, metric="precomputed"))
    alone = np.where(np.arange(32) == 5, 4, truth)
    assert clusters.silhouette(distance, alone) == pytest.approx(silhouette_score(distance, alone, metric="precomputed"))


def test_clusters_are_numbered_by_size() -> None:
    values = np.random.default_rng(3).normal(size=(3, 200))[[0, 1, 1, 1, 2, 2]] + 0.1 * np.random.default_rng(4).normal(size=(6, 200))
    found = clusters.find(pearson(torch.from_numpy(values)), "average linkage", 3)
    assert found.labels.tolist() == [2, 0, 0, 0, 1, 1]
    assert found.sizes.tolist() == [3, 2, 1]
    assert found.criterion == clusters.CHOSEN


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize(("live", "expected"), [(0, 0), (1, 1), (2, 1)])
def test_few_live_channels_are_one_cluster_at_most(method: str, live: int, expected: int) -> None:
    values = np.zeros((4, 9))
    values[:live] = np.random.default_rng(5).normal(size=(live, 9))
    found = clusters.find(pearson(torch.from_numpy(values)), method)
    assert found.count == expected
    assert (found.labels < 0).sum() == 4 - live


@pytest.mark.parametrize("method", clusters.METHODS)
def test_equal_channels_are_no_trouble(method: str) -> None:
    values = np.random.default_rng(6).normal(size=(1, 16)).repeat(8, 0)
    assert clusters.find(pearson(torch.from_numpy(values)), method).count >= 1


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_wished_number_is_met(method: str, count: int) -> None:
    correlation, _ = planted(10, 4, 10, strength=0.6)
    assert clusters.find(correlation, method, count).count == count


def test_what_cannot_be_is_refused() -> None:
    correlation, _ = planted(7, 2, 3)
    with pytest.raises(clusters.TooManyClusters):
        clusters.find(correlation, count=7)
    with pytest.raises(UnknownChoice):
        clusters.find(correlation, "tea leaves")


def test_tables_count_what_is_there() -> None:
    labels = np.array([0, 0, 1, -1, 1, 0])
    found = clusters.Clusters(labels, "spatial", "louvain", clusters.CHOSEN, 0.0)
    block = Block("x", "x.cat", 6, 2, 2, (Branch("1x1", 0, 2), Branch("pool", 2, 6)), "y")
    assert clusters.branch_table(found, block).tolist() == [[2, 1], [0, 2]]


def test_mean_r_is_over_pairs() -> None:
    correlation, truth = planted(8, 2, 3)
    found = clusters.Clusters(truth, "spatial", "louvain", clusters.CHOSEN, 0.0)
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert clusters.mean_r(correlation, found)[0] == pytest.approx(np.mean([correlation.r[a, b] for a, b in pairs]))


def test_cofiring_joins_clusters_that_rise_and_fall_together() -> None:
    generator = np.random.default_rng(9)
    rise = generator.normal(size=40)
    activity = np.stack([rise, rise + 0.1 * generator.normal(size=40), generator.normal(size=40)], axis=1)
    graph = clusters.cofiring(activity)
    assert set(graph.edges) == {(0, 1)}
    assert graph.edges[0, 1]["weight"] == pytest.approx(np.corrcoef(activity[:, 0], activity[:, 1])[0, 1], abs=1e-5)
    pooled = generator.normal(size=(5, 6))
    found = clusters.Clusters(np.array([0, 0, 1, 1, 1, -1]), "image", "louvain", clusters.CHOSEN, 0.0)
    assert clusters.firing(pooled, found) == pytest.approx(np.stack([pooled[:, :2].mean(1), pooled[:, 2:5].mean(1)], axis=1))
