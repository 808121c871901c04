"""The shift null: exact, true to its level on unrelated smooth maps, and not blind to what is aligned."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from inception_viz import nulls
from inception_viz.activations import capture
from inception_viz.correlations import DEFINITIONS, TRANSFORMS, correlate, measure, transformed
from inception_viz.images import Picture
from inception_viz.models import Model
from tests import naive


def smooth(seed: int, channels: int, side: int = 8) -> np.ndarray:
    """Unrelated maps as smooth as activations are: noise that is averaged round over 3 x 3 positions, twice."""
    maps = np.random.default_rng(seed).normal(size=(channels, side, side))
    for _ in range(2):
        maps = sum(np.roll(maps, (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return maps


def test_p_is_that_of_the_definition() -> None:
    maps = smooth(0, 6, 4)
    maps[2] = 1.5
    found, expected = nulls.shift_p(torch.from_numpy(maps)), naive.shift_p(maps)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert found == pytest.approx(expected, abs=1.5 / (20 * 16), nan_ok=True)  # values that share a bin count for each other


def test_p_is_symmetric_positive_and_undefined_for_a_map_with_itself() -> None:
    p = nulls.shift_p(torch.from_numpy(smooth(1, 40)))
    assert np.allclose(p, p.T, equal_nan=True, atol=2e-4)
    assert np.isnan(np.diagonal(p)).all()
    assert np.nanmin(p) >= 1 / (40 * 39 * 64)


def test_unrelated_maps_are_called_related_at_the_stated_rate() -> None:
    """False discoveries over 200 seeds: a plain test would call far more pairs related, since smooth maps have few independent positions."""
    against = [nulls.against_chance(nulls.shift_p(torch.from_numpy(smooth(seed, 12)))) for seed in range(200)]
    assert np.mean([a.share for a in against]) == pytest.approx(nulls.LEVEL, abs=0.01)
    assert np.mean([a.adjusted_share > 0 for a in against]) < nulls.LEVEL + 3 * np.sqrt(nulls.LEVEL * (1 - nulls.LEVEL) / 200)
    plain = [np.mean(np.abs(np.corrcoef(smooth(s, 12).reshape(12, -1))[np.triu_indices(12, 1)]) > 0.246) for s in range(50)]
    assert np.mean(plain) > 3 * nulls.LEVEL


def test_on_tiny_maps_of_a_rectified_network_the_rate_holds_too() -> None:
    shares = [nulls.against_chance(nulls.shift_p(torch.from_numpy(np.maximum(smooth(s, 20, 4), 0)))).share for s in range(100)]
    assert np.mean(shares) == pytest.approx(nulls.LEVEL, abs=0.012)


def test_aligned_maps_are_found_and_others_are_not() -> None:
    """Recall of planted pairs, and the share of false ones among those called after Benjamini-Hochberg."""
    pairs = np.triu_indices(12, 1)
    inside = (np.repeat(np.arange(3), 4)[:, None] == np.repeat(np.arange(3), 4))[pairs]
    recall, false = [], []
    for seed in range(0, 400, 2):
        maps = np.repeat(smooth(seed, 3), 4, 0) + 0.2 * smooth(seed + 1, 12)
        called = nulls.adjusted(nulls.shift_p(torch.from_numpy(maps))[pairs]) <= nulls.LEVEL
        recall.append(called[inside].mean())
        false.append((called & ~inside).sum() / max(1, called.sum()))
    assert np.mean(recall) > 0.7
    assert np.mean(false) <= nulls.LEVEL


def test_shifting_keeps_the_maps_and_breaks_their_alignment() -> None:
    maps = torch.from_numpy(np.repeat(smooth(4, 1), 30, 0))
    real, null = (1.0, correlate(nulls.shift(maps, 0)).pairs())
    assert np.median(np.abs(null)) < 0.5 < real
    assert np.array_equal(correlate(nulls.shift(maps, 0)).r, correlate(nulls.shift(maps, 0)).r)
    assert not np.array_equal(correlate(nulls.shift(maps, 0)).r, correlate(nulls.shift(maps, 1)).r)


def test_without_live_pairs_the_share_is_undefined() -> None:
    p = nulls.shift_p(torch.zeros(3, 4, 4))
    assert np.isnan(p).all()
    assert np.isnan(nulls.against_chance(p).share)


def test_one_live_channel_has_no_pair() -> None:
    maps = torch.zeros(3, 4, 4)
    maps[1, 0, 0] = 1
    assert np.isnan(nulls.shift_p(maps)).all()


def test_permuting_pictures_keeps_each_channel_and_breaks_their_company() -> None:
    pooled = torch.from_numpy(np.repeat(np.random.default_rng(0).normal(size=(40, 1)), 6, 1))
    found = nulls.permute(pooled, 3)
    assert torch.equal(found.sort(0).values, pooled.sort(0).values)
    assert np.abs(np.corrcoef(found.T.numpy())[np.triu_indices(6, 1)]).max() < 0.6


def test_twins_in_a_row_are_the_twins_one_by_one(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    first, second = nulls.untrained(googlenet, inputs, 2)
    for seed, found in enumerate((first, second)):
        expected = capture(nulls.twin(googlenet, seed), inputs, gradients=False).activations
        assert all(torch.equal(found[name], expected[name][0]) for name in expected)
    assert not torch.equal(first["4c"], second["4c"])


def test_a_twin_leaves_the_network_as_it_was(googlenet: Model) -> None:
    before = {name: tensor.clone() for name, tensor in googlenet.network.state_dict().items()}
    twin = nulls.twin(googlenet, 5)
    assert all(torch.equal(before[name], tensor) for name, tensor in googlenet.network.state_dict().items())
    assert twin.weights.random
    assert twin.key != googlenet.key


@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_a_null_of_transformed_maps_keeps_what_is_transformed(transform: str) -> None:
    """Shifted after the transform: each channel keeps its values, so ranks stay ranks, and the mean map is not taken out of what has none."""
    maps = torch.from_numpy(np.maximum(smooth(7, 10), 0))
    (drawn,) = nulls.draws(nulls.SHIFT, maps, transform=transform, count=1)
    expected = correlate(nulls.shift(transformed(maps, transform=transform), 0))
    assert drawn.r == pytest.approx(expected.r, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("definition", list(DEFINITIONS))
@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_what_is_transformed_is_what_the_measure_correlates(definition: str, transform: str) -> None:
    values = torch.from_numpy(np.maximum(smooth(8, 9), 0)).float()
    values = values.flatten(1).T.contiguous() if definition == "image" else values
    plain = measure(definition)(transformed(values, definition, transform))
    assert plain.r == pytest.approx(measure(definition, transform)(values).r, abs=1e-5, nan_ok=True)


def test_a_null_tells_how_rare_a_strength_is_on_both_sides() -> None:
    null = nulls.drawn(nulls.SHIFT, nulls.draws(nulls.SHIFT, torch.from_numpy(smooth(9, 8)), count=9))
    assert null.draws == 9
    assert null.p(1.0) == null.p(0.0) == pytest.approx(2 / 10)
    assert null.p(float(np.median(null.strengths))) == 1
    assert len(null.pairs) == pytest.approx(28, abs=9)
    with pytest.raises(ValueError, match="at least one"):
        nulls.drawn(nulls.SHIFT, [])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_is_benjamini_and_hochbergs(p: list[float]) -> None:
    values = np.array([*p, np.nan])
    q = nulls.adjusted(values)
    order, n = np.argsort(p), len(p)
    expected = np.minimum.accumulate((np.array(p)[order] * n / np.arange(1, n + 1))[::-1])[::-1].clip(max=1)
    assert q[:-1][order] == pytest.approx(expected)
    assert np.isnan(q[-1])


def test_every_pair_has_its_p_and_what_is_left_after_adjusting_over_all_pairs() -> None:
    p = nulls.shift_p(torch.from_numpy(smooth(3, 9)))
    p[2], p[:, 2] = np.nan, np.nan
    tests = nulls.pair_tests(p)
    upper = np.triu_indices(9, 1)
    known = ~np.isnan(p[upper])
    expected = false_discovery_control(p[upper][known].astype(np.float64))
    for values, wanted in ((tests.p, p[upper][known]), (tests.q, expected)):
        np.testing.assert_allclose(values[upper][known], wanted, rtol=1e-6)
        np.testing.assert_array_equal(values, values.T)
        assert np.isnan(values[2]).all()
    assert tests.against_chance() == nulls.against_chance(p)


def test_the_rarest_pairs_come_first_and_the_strongest_of_equally_rare_ones() -> None:
    values = torch.from_numpy(smooth(4, 8))
    values[5] = 0
    similar = correlate(values)
    tests = nulls.pair_tests(np.round(nulls.shift_p(values), 1))
    pairs = nulls.rarest(tests, similar, 100)
    assert len(pairs) == 7 * 6 / 2
    keys = [(tests.p[a, b], -abs(similar.r[a, b])) for a, b in pairs]
    assert keys == sorted(keys)
    assert nulls.rarest(tests, similar, 3) == pairs[:3]
