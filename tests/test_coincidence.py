"""The gap between inside and across is what it says, is found where it was planted, and is not where it wasn't."""

import itertools

import numpy as np
import pytest
import torch

from inception_viz import coincidence, correlations, nulls
from inception_viz.architecture import Block, Branch
from inception_viz.correlations import Correlation, pearson
from inception_viz.measurement import Conditions
from inception_viz.models import Model
from tests.test_sparsity import driven

BLOCK = Block("x", "x.cat", 12, 4, 4, (Branch("1x1", 0, 4), Branch("3x3", 4, 9), Branch("5x5", 9, 10), Branch("pool", 10, 12)), "y")
NONE = np.empty(0)


def planted(share: float, seed: int = 0) -> Correlation:
    """Channels of one branch share a part of what they do."""
    generator = np.random.default_rng(seed)
    common = generator.normal(size=(4, 200))[BLOCK.branch_of]
    values = share * common + (1 - share) * generator.normal(size=(12, 200))
    values[5] = 0
    return pearson(torch.from_numpy(values))


def naive(correlation: Correlation, labels: np.ndarray) -> tuple[float, float]:
    """Pair by pair."""
    live = [c for c in range(len(labels)) if not correlation.constant[c]]
    inside, across = [], []
    for a, b in itertools.combinations(live, 2):
        (inside if labels[a] == labels[b] else across).append(abs(float(correlation.r[a, b])))
    return float(np.mean(inside)), float(np.mean(across))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_inside_and_across_are_means_over_pairs_of_live_channels(share: float) -> None:
    similar = planted(share)
    found = coincidence.compare(similar, BLOCK, NONE, 1)
    assert (found.inside, found.across) == pytest.approx(naive(similar, BLOCK.branch_of), abs=1e-6)
    assert found.channels == 11
    assert found.pairs_inside == 6 + 6 + 0 + 1
    assert found.pairs_inside + found.pairs_across == 55
    assert found.n == 200


def test_a_shuffle_is_a_relabelling_of_the_same_pairs() -> None:
    similar = planted(0.3)
    live = np.flatnonzero(~similar.constant)
    (orders,) = coincidence._shuffled(BLOCK.branch_of[live], 5)
    found = coincidence.compare(similar, BLOCK, NONE, 5)
    for order, gap in zip(orders, found.shuffled, strict=True):
        labels = np.zeros(12, int)
        labels[live] = order
        inside, across = naive(similar, labels)
        assert gap == pytest.approx(inside - across, abs=1e-6)


def test_planted_branches_are_beyond_chance_and_none_are_not() -> None:
    assert coincidence.compare(planted(0.6), BLOCK, NONE).p == 0.001
    assert coincidence.compare(planted(0.6), BLOCK, NONE).z > 5


def test_without_planted_branches_p_is_as_small_as_chance_allows() -> None:
    p = [coincidence.compare(planted(0.0, seed), BLOCK, NONE, 99).p for seed in range(60)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_one_branch_or_no_live_channel_leaves_nothing_to_compare() -> None:
    alone = Block("x", "x.cat", 12, 4, 4, (Branch("1x1", 0, 12),), "y")
    assert np.isnan(coincidence.compare(planted(0.5), alone, NONE, 3).gap)
    dead = pearson(torch.zeros(12, 9))
    found = coincidence.compare(dead, BLOCK, NONE, 3)
    assert np.isnan(found.gap)
    assert np.isnan(found.p)
    assert found.channels == 0


def test_the_effects_size_is_cohens_d_over_pairs() -> None:
    correlation = planted(0.3)
    found = coincidence.compare(correlation, BLOCK, NONE, 3)
    inside, across = [], []
    live = np.flatnonzero(~correlation.constant)
    for place, a in enumerate(live):
        for b in live[:place]:
            (inside if BLOCK.branch_of[a] == BLOCK.branch_of[b] else across).append(abs(correlation.r[a, b]))
    pooled = ((len(inside) - 1) * np.var(inside, ddof=1) + (len(across) - 1) * np.var(across, ddof=1)) / (len(inside) + len(across) - 2)
    assert found.d == pytest.approx((np.mean(inside) - np.mean(across)) / pooled**0.5, rel=1e-5)


def test_p_counts_twins_that_reach_the_gap() -> None:
    found = coincidence.compare(planted(0.3), BLOCK, np.array([-1.0, 0.0, 9.0]), 9)
    assert found.p_twins == 0.5
    assert np.isnan(coincidence.compare(planted(0.3), BLOCK, np.array([1.0]), 9).z_twins)


def of_gap(gap: float, twins: list[float], shuffled: list[float]) -> coincidence.Coincidence:
    return coincidence.Coincidence("x", 0.2 + gap, 0.2, np.array(shuffled), np.array(twins), 12, 10, 50, 9, 0.5)


@pytest.mark.parametrize(("gap", "inside", "learnt"), [(1.0, True, True), (0.3, True, False), (0.0, False, False)])
def test_verdicts_follow_the_numbers(gap: float, inside: bool, learnt: bool) -> None:
    twins, shuffled = list(np.linspace(0.2, 0.4, 19)), list(np.linspace(-0.1, 0.1, 99))
    outcome = coincidence.answered([of_gap(gap, twins, shuffled)] * 3, Conditions("cpu", 1, "float32"))
    assert [f.supported for f in outcome.findings] == [inside, learnt]
    assert [row.get("twin") for row in outcome.rows] == [None] * 3 + [*range(19)] * 3
    assert [row["gap"] for row in outcome.rows[3:22]] == pytest.approx(twins)
    assert (outcome.rows[0]["shuffled_low"], outcome.rows[0]["shuffled_high"]) == pytest.approx((-0.095, 0.095))


def test_a_random_network_is_one_of_its_twins(googlenet: Model) -> None:
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found, shares = driven(coincidence.of_pictures(googlenet, inputs, 3))
    assert [c.block for c in found] == ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    assert shares == [0.25, 0.5, 0.75]
    assert all(len(c.twins) == 3 and len(c.shuffled) == coincidence.SHUFFLES for c in found)


def test_twins_are_those_of_the_nulls(googlenet: Model) -> None:
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    pairs = zip(coincidence._untrained(googlenet, inputs, 2), nulls.untrained(googlenet, inputs, 2), strict=True)
    for ours, theirs in pairs:
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


def test_two_pictures_are_too_few(googlenet: Model) -> None:
    with pytest.raises(correlations.TooFewPictures):
        next(coincidence.of_pictures(googlenet, torch.zeros(2, 3, 64, 64), 1))
