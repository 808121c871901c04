"""Clusters: planted ones are found, the slow twin agrees, relabelling changes nothing, and edges of the range behave."""

import networkx as nx
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


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_average_linkage_is_that_of_the_definition(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).normal(size=(9, 15))
    correlation = pearson(torch.from_numpy(values))
    found = clusters.find(correlation, "average linkage", count)
    assert {frozenset(found.members(k).tolist()) for k in range(found.count)} == naive.average_linkage(
        1 - correlation.r.astype(float), count
    )


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 2**31))
def test_relabelling_channels_relabels_clusters(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(12, 40))
    order = np.random.default_rng(seed + 1).permutation(12)
    a = clusters.find(pearson(torch.from_numpy(values)), "average linkage").labels
    b = clusters.find(pearson(torch.from_numpy(values[order])), "average linkage").labels
    assert clusters.agreement(a[order], b) == 1.0


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("count", [None, 5])
def test_renumbered_channels_get_the_same_clusters(method: str, count: int | None) -> None:
    for seed in range(15):
        generator = np.random.default_rng(seed)
        values, order = torch.from_numpy(generator.normal(size=(40, 25))), generator.permutation(40)
        a = clusters.find(pearson(values), method, count)
        b = clusters.find(pearson(values[order]), method, count)
        assert {frozenset(a.members(k)) for k in range(a.count)} == {frozenset(order[b.members(k)]) for k in range(b.count)}
        assert a.sizes.tolist() == b.sizes.tolist()


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
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_wished_number_is_met_by_equal_channels_too(method: str, count: int) -> None:
    values = np.random.default_rng(11).normal(size=(1, 16)).repeat(8, 0)
    assert clusters.find(pearson(torch.from_numpy(values)), method, count).count == count


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_merging_from_single_channels_is_average_linkage(count: int) -> None:
    """Louvain's communities become fewer by the same rule: the two most alike, by their mean r, become one."""
    for seed in range(10):
        r = pearson(torch.from_numpy(np.random.default_rng(seed).normal(size=(9, 15)))).r
        labels = clusters._merged(r, np.arange(9), count)
        found = {frozenset(np.flatnonzero(labels == k).tolist()) for k in range(count)}
        assert found == naive.average_linkage(1 - r.astype(float), count)


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize(("live", "count"), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_a_wished_number_is_met_by_few_channels_too(method: str, live: int, count: int) -> None:
    values = np.zeros((5, 9))
    values[1 : live + 1] = np.random.default_rng(12).normal(size=(live, 9))
    found = clusters.find(pearson(torch.from_numpy(values)), method, count)
    assert found.count == count
    assert np.flatnonzero(found.labels >= 0).tolist() == list(range(1, live + 1))


@pytest.mark.parametrize("method", clusters.METHODS)
def test_opposite_channels_are_apart(method: str) -> None:
    base = np.random.default_rng(13).normal(size=(1, 30))
    values = np.concatenate([base] * 4 + [-base] * 3) + 0.05 * np.random.default_rng(14).normal(size=(7, 30))
    assert clusters.find(pearson(torch.from_numpy(values)), method).labels.tolist() == [0] * 4 + [1] * 3


@pytest.mark.parametrize("method", clusters.METHODS)
def test_maps_of_four_positions_are_no_trouble(method: str) -> None:
    activation = torch.from_numpy(np.random.default_rng(15).normal(size=(20, 4))).relu()
    correlation = pearson(activation)
    found = clusters.find(correlation, method)
    assert ((found.labels < 0) == correlation.constant).all()
    assert 1 <= found.count < 20


@pytest.mark.parametrize("method", clusters.METHODS)
def test_a_channel_with_broken_values_is_left_out(method: str) -> None:
    values = np.random.default_rng(17).normal(size=(6, 30))
    values[2, 5] = np.nan
    found = clusters.find(pearson(torch.from_numpy(values)), method)
    assert np.flatnonzero(found.labels < 0).tolist() == [2]


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_wished_number_is_met(method: str, count: int) -> None:
    correlation, _ = planted(10, 4, 10, strength=0.6)
    assert clusters.find(correlation, method, count).count == count


def test_a_wished_number_of_communities_is_no_tree() -> None:
    """Louvain's few clusters come from a finer resolution: more modular than those of average linkage."""
    correlation = pearson(torch.from_numpy(np.random.default_rng(2).normal(size=(60, 20))))
    graph = nx.from_scipy_sparse_array(clusters._neighbours(correlation.r))
    few = {method: clusters.find(correlation, method, 5) for method in clusters.METHODS}
    modular = {m: nx.community.modularity(graph, [set(f.members(k)) for k in range(5)]) for m, f in few.items()}
    assert modular["louvain"] > modular["average linkage"] + 0.03


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


def test_mean_r_leaves_out_channels_that_are_constant_here() -> None:
    _, truth = planted(18, 2, 3)
    values = np.random.default_rng(19).normal(size=(6, 20))
    values[1], values[3:5] = 0, 0
    here = pearson(torch.from_numpy(values))
    found = clusters.Clusters(truth, "image", "louvain", clusters.CHOSEN, 0.0)
    means = clusters.mean_r(here, found)
    assert means[0] == pytest.approx(here.r[0, 2])
    assert np.isnan(means[1])


def test_pairs_inside_are_those_of_one_cluster() -> None:
    similar = pearson(torch.from_numpy(np.random.default_rng(5).normal(size=(7, 30))))
    r = similar.r.copy()
    r[6], r[:, 6] = np.nan, np.nan
    labels = np.array([0, 1, 0, -1, 0, 1, 1])
    found = clusters.Clusters(labels, "spatial", "louvain", "chosen", 0.0)
    pairs = [r[i, j] for i in range(7) for j in range(i + 1, 7) if labels[i] == labels[j] >= 0 and 6 not in (i, j)]
    assert clusters.inside(Correlation(r, np.isnan(r).all(0), 30), found).tolist() == pairs


def test_agreement_is_over_channels_that_both_label() -> None:
    a, b = np.array([0, 0, 1, 1, -1, 2]), np.array([5, 5, 3, 3, 4, -1])
    assert clusters.agreement(a, b) == 1
    assert clusters.agreement(a, np.array([0, 1, 0, 1, 0, 1])) < 0.1


def test_a_block_that_never_fires_has_no_clusters_to_fire_together() -> None:
    found = clusters.find(pearson(torch.zeros(4, 9)))
    activity = clusters.firing(np.zeros((5, 4)), found)
    assert activity.shape == (5, 0)
    assert len(clusters.cofiring(activity)) == 0


def test_a_cluster_that_is_always_the_same_joins_none() -> None:
    activity = np.random.default_rng(20).normal(size=(10, 1)).repeat(3, 1)
    activity[:, 1] = 0.5
    assert set(clusters.cofiring(activity).edges) == {(0, 2)}


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
