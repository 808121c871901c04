"""Clusters against chance: planted ones are found, noise is not; stability, and the branches' share, by independent sums."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from inception_viz import nulls, validation
from inception_viz.architecture import Block, Branch
from inception_viz.clusters import Clusters, find
from inception_viz.correlations import correlate, measure
from tests.test_nulls import smooth


def planted(seed: int, clusters: int = 3, each: int = 6, noise: float = 0.4, alone: int = 6) -> np.ndarray:
    """Maps of `clusters` x `each` channels that share a map, and `alone` more that share none."""
    shared = np.repeat(smooth(seed, clusters), each, 0) + noise * smooth(seed + 100_000, clusters * each)
    return np.concatenate([shared, smooth(seed + 200_000, alone)])


def doubted(maps: np.ndarray, draws: int = 9) -> tuple[Clusters, validation.ClusterTests]:
    activation = torch.from_numpy(maps)
    similar = correlate(activation)
    found = find(similar)
    return found, validation.cluster_tests(found, similar, nulls.draws(nulls.SHIFT, activation, count=draws))


def clusters(labels: list[int]) -> Clusters:
    return Clusters(np.array(labels), "spatial", "louvain", "chosen", 0.0)


def test_planted_clusters_are_found_and_told_from_chance() -> None:
    agreements, recalls = [], []
    for seed in range(12):
        found, tests = doubted(planted(seed), validation.DRAWS)
        truth = np.repeat(np.arange(3), 6)
        agreements.append(adjusted_rand_score(truth, found.labels[:18]))
        true = [np.bincount(found.labels[:18][truth == k]).argmax() for k in range(3)]
        recalls.append(tests.real[true].mean())
    assert np.mean(agreements) > 0.95
    assert np.mean(recalls) > 0.8


def test_clusters_of_noise_are_called_real_at_the_stated_rate() -> None:
    """Over 200 seeds: clusters are found in noise every time, since something is always found; p must not fall for it."""
    p, any_called = [], []
    for seed in range(200):
        _, tests = doubted(smooth(300_000 + seed, 20, 6))
        p.extend(tests.p[~np.isnan(tests.p)])
        any_called.append(tests.real.any())
    assert len(p) > 400
    assert np.mean(np.array(p) <= nulls.LEVEL) < 0.08
    assert np.mean(any_called) < nulls.LEVEL + 3 * np.sqrt(nulls.LEVEL * (1 - nulls.LEVEL) / 200)


def test_p_counts_the_chance_clusters_that_exceed_as_far() -> None:
    found, tests = doubted(planted(3))
    slope, start = np.polyfit(np.log(tests.chance_sizes), tests.chance_r, 1)
    assert tests.expected == pytest.approx(start + slope * np.log(tests.sizes))
    chance = (tests.chance_r - start - slope * np.log(tests.chance_sizes)) * np.sqrt(tests.chance_sizes)
    for k in range(found.count):
        reached = (chance >= (tests.mean_r[k] - tests.expected[k]) * np.sqrt(tests.sizes[k]) - 1e-6).sum()
        assert tests.p[k] == pytest.approx((1 + reached) / (1 + len(chance)))
    assert tests.draws == 9
    assert tests.first_clusters.labels.shape == found.labels.shape


def test_one_cluster_and_clusters_of_one_channel_have_honest_numbers() -> None:
    activation = torch.from_numpy(planted(5, 1, 5, alone=0))
    similar = correlate(activation)
    one = find(similar, count=1)
    tests = validation.cluster_tests(one, similar, nulls.draws(nulls.SHIFT, activation, count=19))
    assert tests.p == pytest.approx([1 / 20])
    singles = find(similar, count=5)
    tests = validation.cluster_tests(singles, similar, nulls.draws(nulls.SHIFT, activation, count=3))
    assert np.isnan(tests.p).all()
    assert not tests.real.any()
    assert validation.stability(one, activation, measure(), resamples=3).by_cluster == pytest.approx([1])
    with pytest.raises(ValueError, match="at least one"):
        validation.cluster_tests(one, similar, [])


def test_a_block_without_live_channels_has_no_clusters_to_doubt() -> None:
    activation = torch.zeros(4, 3, 3)
    similar = correlate(activation)
    found = find(similar)
    tests = validation.cluster_tests(found, similar, nulls.draws(nulls.SHIFT, activation, count=2))
    assert tests.p.shape == (0,)
    assert validation.stability(found, activation, measure(), resamples=2).by_cluster.shape == (0,)
    assert np.isnan(validation.specialisation(found, block([2, 2])).p)


def test_a_planted_cluster_survives_and_loose_channels_do_not() -> None:
    activation = torch.from_numpy(planted(7, 2, 8, 0.3, 0))
    strong = find(correlate(activation), count=2)
    assert validation.stability(strong, activation, measure()).survives.all()
    noise = torch.from_numpy(smooth(8, 20, 4))
    loose = find(correlate(noise))
    found = validation.stability(loose, noise, measure())
    assert found.by_cluster.min() < validation.SURVIVES
    assert found.agreement.mean() < 0.5


def test_stability_of_chance_is_that_of_shifted_maps() -> None:
    activation = torch.from_numpy(planted(9, 2, 8, 0.3, 0))
    found = find(correlate(activation))
    chance = validation.chance_stability(found, activation, resamples=4)
    drawn = nulls.shift(activation, 0)
    assert chance.agreement == pytest.approx(validation.stability(find(correlate(drawn)), drawn, measure(), 4).agreement)
    assert chance.agreement.mean() < validation.stability(found, activation, measure(), 4).agreement.mean()


labellings = st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 3), min_size=n, max_size=n)] * 2))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(labellings)
def test_a_cluster_against_the_rest_has_the_adjusted_rand_index_of_sklearn(both: tuple[list[int], list[int]]) -> None:
    a, b = (np.unique(labels, return_inverse=True)[1] for labels in both)
    found = validation._one_against_rest(a, b)
    for i, j in itertools.product(range(a.max() + 1), range(b.max() + 1)):
        assert found[i, j] == pytest.approx(adjusted_rand_score(a == i, b == j), abs=1e-9)


@pytest.mark.parametrize("side", [1, 3, 4, 8, 16])
def test_resampled_positions_are_as_many_and_come_in_pieces(side: int) -> None:
    maps = torch.arange(side * side, dtype=torch.float64).reshape(1, side, side)
    found = validation.resampled(maps, 0)
    assert found.shape == (1, 1, side * side)
    assert set(found.flatten().tolist()) <= set(range(side * side))
    piece = max(1, round(side**0.5))
    steps = np.diff(found.flatten().numpy())
    assert side == 1 or np.mean(steps == 1) >= (piece - 1) / piece - 1 / piece


def test_resampled_pictures_are_whole_pictures() -> None:
    pooled = torch.arange(12.0).reshape(4, 3)
    found = validation.resampled(pooled, 1)
    assert found.shape == pooled.shape
    assert all(any(torch.equal(row, picture) for picture in pooled) for row in found)


def block(widths: list[int]) -> Block:
    stops = np.cumsum(widths)
    branches = tuple(Branch(f"b{i}", int(stop - width), int(stop)) for i, (width, stop) in enumerate(zip(widths, stops, strict=True)))
    return Block("x", "x", int(stops[-1]), 1, 1, branches, "x")


def exact_tail(total: int, branch: int, cluster: int, both: int) -> float:
    ways = sum(comb(branch, k) * comb(total - branch, cluster - k) for k in range(both, min(branch, cluster) + 1))
    return float(Fraction(ways, comb(total, cluster)))


@pytest.mark.parametrize(("branch", "total", "both", "expected"), [(32, 256, 9, 2.5e-9), (96, 480, 30, 1.7e-23)])
def test_a_cell_is_the_hypergeometric_tail(branch: int, total: int, both: int, expected: float) -> None:
    """Branch specialisation (Voss et al., Distill 2021): all channels of a kind stand in one branch."""
    table = np.array([[both, 0], [branch - both, total - branch]])
    found = validation.tail(table)
    assert found[0, 0] == pytest.approx(expected, rel=0.03)
    assert found[0, 0] == pytest.approx(exact_tail(total, branch, both, both), rel=1e-6)
    assert found[0, 1] == pytest.approx(1)


def test_clusters_that_are_branches_specialise_and_shuffled_ones_do_not() -> None:
    widths = block([6, 10, 4])
    labels = np.repeat([1, 0, 2], [6, 10, 4])
    exact = validation.specialisation(clusters(labels.tolist()), widths)
    assert exact.information == pytest.approx(1)
    assert exact.p == pytest.approx(1 / (1 + exact.permutations))
    assert (np.diagonal(exact.cells_q[[1, 0, 2]]) < 0.01).all()
    rng, p = np.random.default_rng(0), []
    for _ in range(100):
        shuffled = rng.permutation(labels).tolist()
        found = validation.specialisation(clusters(shuffled), widths, permutations=39)
        assert found.information == pytest.approx(adjusted_mutual_info_score(shuffled, widths.branch_of))
        p.append(found.p)
    assert np.mean(np.array(p) <= nulls.LEVEL) < 0.12


def test_constant_channels_count_for_no_branch() -> None:
    found = validation.specialisation(clusters([0, 0, -1, 1, 1, -1]), block([3, 3]))
    assert found.table.tolist() == [[2, 0], [0, 2]]
    assert found.cells_p[0, 0] == pytest.approx(exact_tail(4, 2, 2, 2))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=14), st.integers(0, 1000))
def test_information_orders_permutations_as_the_adjusted_one_does(labels: list[int], seed: int) -> None:
    a = np.unique(labels, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    b, c = (rng.permutation(np.arange(len(a)) % 3) for _ in range(2))
    ours = validation._information(a, b) - validation._information(a, c)
    theirs = adjusted_mutual_info_score(a, b) - adjusted_mutual_info_score(a, c)
    assert abs(ours) < 1e-9 or abs(theirs) < 1e-9 or (ours > 0) == (theirs > 0)
