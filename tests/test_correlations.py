"""Correlations agree with numpy and with the slow twins; constant channels are nan and counted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from inception_viz import correlations
from inception_viz.moments import moments
from tests import naive


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def test_r_is_numpys() -> None:
    values = noise(0, 40, 200)
    assert correlations.pearson(values).r == pytest.approx(np.corrcoef(values.double().numpy()), abs=1e-5)


def test_r_is_that_of_the_definition() -> None:
    values = noise(1, 6, 12).relu()
    values[2] = 3.5
    found = correlations.pearson(values)
    assert found.r == pytest.approx(naive.pearson(values.double().numpy()), abs=1e-5, nan_ok=True)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**31), st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_shift_of_a_channel_do_not_matter(seed: int, scale: float, shift: float) -> None:
    values = noise(seed, 5, 30)
    changed = values.clone()
    changed[1] = changed[1] * scale + shift
    assert correlations.pearson(changed).r == pytest.approx(correlations.pearson(values).r, abs=2e-4)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**31))
def test_relabelling_channels_relabels_r(seed: int) -> None:
    values, order = noise(seed, 7, 20), np.random.default_rng(seed).permutation(7)
    assert correlations.pearson(values[order]).r == pytest.approx(correlations.pearson(values).r[np.ix_(order, order)], abs=1e-6)


def test_constant_channels_are_nan_and_counted() -> None:
    values = noise(2, 4, 50)
    values[1], values[3] = 0, 7.3
    found = correlations.pearson(values)
    assert found.constant.tolist() == [False, True, False, True]
    assert np.isnan(found.r[1]).all()
    assert np.isnan(found.r[:, 3]).all()
    assert found.r[0, 0] == 1
    assert len(found.pairs()) == 1


def test_a_matrix_is_symmetric_with_ones_and_within_bounds() -> None:
    values = torch.cat([noise(3, 30, 9), noise(3, 30, 9)])
    found = correlations.pearson(values)
    assert np.array_equal(found.r, found.r.T)
    assert (np.diagonal(found.r) == 1).all()
    assert np.abs(found.r).max() <= 1


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 2**31), st.integers(2, 1100), st.integers(2, 800))
def test_a_matrix_of_any_size_is_symmetric_to_the_last_bit(seed: int, channels: int, n: int) -> None:
    r = correlations.pearson(torch.randn(channels, n, generator=torch.Generator().manual_seed(seed))).r
    assert np.array_equal(r, r.T)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-20, 1e20, float("nan"), float("inf")])
@pytest.mark.parametrize("n", [16, 49, 784, 5000])
def test_a_channel_of_one_value_is_constant_however_it_rounds(value: float, n: int) -> None:
    values = noise(14, 3, n)
    values[1] = value
    jittered = values.clone()
    jittered[1] *= 1 + 1e-7 * noise(15, n)
    for each in (values, jittered):
        for found in (correlations.pearson(each), correlations.from_moments(moments(each))):
            assert found.constant.tolist() == [False, True, False]
            assert np.isfinite(found.r[0, 2])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_broken_value_takes_its_own_channel_only(bad: float) -> None:
    values = noise(16, 5, 30)
    expected = correlations.pearson(values).r
    values[3, 7] = bad
    live = [0, 1, 2, 4]
    for found in (correlations.pearson(values), correlations.from_moments(moments(values))):
        assert found.constant.tolist() == [False, False, False, True, False]
        assert found.r[np.ix_(live, live)] == pytest.approx(expected[np.ix_(live, live)], abs=1e-6)
        assert np.isnan(found.r[3]).all()
    assert correlations.order(found)[-1] == 3


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_very_small_and_very_large_activations_correlate_alike(scale: float) -> None:
    values = noise(17, 5, 30)
    assert correlations.pearson(values * scale).r == pytest.approx(correlations.pearson(values).r, abs=1e-6)


def test_what_is_correlated_is_left_as_it_was() -> None:
    values = noise(18, 4, 20).double()
    before = values.clone()
    for transform in correlations.TRANSFORMS.values():
        correlations.pearson(transform(values))
    assert torch.equal(values, before)


@pytest.mark.parametrize("transform", correlations.TRANSFORMS)
def test_a_constant_channel_is_constant_under_every_transform(transform: str) -> None:
    values = noise(19, 4, 50).relu()
    values[2] = 0.1 * (1 + 1e-8 * noise(20, 50))
    found = correlations.pearson(correlations.TRANSFORMS[transform](values))
    assert found.constant.tolist() == [False, False, True, False]


def test_a_branch_is_a_slice() -> None:
    values = noise(4, 10, 30)
    part = correlations.pearson(values).part(3, 8)
    assert part.r == pytest.approx(correlations.pearson(values[3:8]).r, abs=1e-6)


def test_jaccard_is_that_of_the_definition() -> None:
    values = noise(5, 8, 40).relu()
    values[3] = 0
    found = correlations.jaccard(values.view(8, 5, 8), 0.2)
    assert found.r == pytest.approx(naive.jaccard(values.numpy(), 0.2), abs=1e-6, nan_ok=True)
    assert found.constant[3]


def test_two_blocks_meet_on_the_coarser_grid() -> None:
    a, b = noise(6, 3, 8, 8), noise(7, 4, 4, 4)
    coarse = a.view(3, 4, 2, 4, 2).mean((2, 4))
    expected = np.corrcoef(coarse.flatten(1).numpy(), b.flatten(1).numpy())[:3, 3:]
    found = correlations.across(a, b)
    assert found.r == pytest.approx(expected, abs=1e-5)
    assert found.n == 16


def test_grids_that_do_not_divide_meet_by_area() -> None:
    a, b = noise(21, 3, 7, 7), noise(22, 2, 4, 4)
    coarse = np.stack([naive.coarser(m, 4).ravel() for m in a.double().numpy()])
    expected = np.corrcoef(coarse, b.flatten(1).double().numpy())[:3, 3:]
    assert correlations.across(a, b).r == pytest.approx(expected, abs=1e-5)
    assert correlations.across(b, a).r == pytest.approx(expected.T, abs=1e-5)


def test_a_dead_channel_is_nan_across_blocks() -> None:
    a, b = noise(23, 3, 4, 4), noise(24, 2, 4, 4)
    a[1], b[0] = 0.1, float("inf")
    found = correlations.across(a, b).r
    assert np.isnan(found).tolist() == [[True, False], [True, True], [True, False]]


def test_image_level_correlates_over_pictures() -> None:
    pooled = noise(8, 30, 5)
    assert correlations.image_level(pooled).r == pytest.approx(np.corrcoef(pooled.T.numpy()), abs=1e-5)
    with pytest.raises(correlations.TooFewPictures):
        correlations.image_level(pooled[:2])


def test_ranks_give_spearman() -> None:
    values = noise(9, 4, 60).relu()
    found = correlations.pearson(correlations.ranks(values))
    assert found.r == pytest.approx(stats.spearmanr(values.numpy(), axis=1).statistic, abs=1e-5)


def test_without_the_mean_map_what_all_share_is_gone() -> None:
    shared = noise(10, 1, 400)
    values = shared * 3 + noise(11, 6, 400)
    before, after = correlations.pearson(values), correlations.pearson(correlations.without_mean_map(values))
    assert before.pairs().mean() > 0.8
    assert abs(after.pairs().mean()) < 0.35


def test_a_channel_that_is_the_mean_map_has_nothing_left() -> None:
    """What remains of equal channels is rounding, whose r would be anything."""
    values = noise(25, 1, 60).repeat(6, 1) * torch.arange(1.0, 7.0)[:, None]
    assert correlations.pearson(correlations.without_mean_map(values)).constant.all()


def test_without_the_mean_map_is_less_the_first_principal_component() -> None:
    values = (noise(26, 1, 80) + noise(27, 5, 80)).double().numpy()
    standard = (values - values.mean(1, keepdims=True)) / np.linalg.norm(values - values.mean(1, keepdims=True), axis=1, keepdims=True)
    left, sizes, right = np.linalg.svd(standard, full_matrices=False)
    expected = standard - sizes[0] * np.outer(left[:, 0], right[0])
    assert correlations.without_mean_map(torch.from_numpy(values)).numpy() == pytest.approx(expected, abs=1e-10)


def test_positions_that_tie_all_fire() -> None:
    values = torch.tensor([[3.0, 3, 3, 1, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    found = correlations.jaccard(values.view(3, 2, 5), 0.2)
    assert found.r[0, 1] == pytest.approx(1 / 3)
    assert found.constant.tolist() == [False, False, True]


def test_the_order_is_a_permutation_with_constants_last_and_friends_together() -> None:
    base = noise(12, 3, 300)
    values = base.repeat_interleave(4, 0)[torch.randperm(12, generator=torch.Generator().manual_seed(0))] + 0.1 * noise(13, 12, 300)
    values = torch.cat([torch.zeros(2, 300), values])
    found = correlations.pearson(values)
    order = correlations.order(found)
    assert sorted(order) == list(range(14))
    assert set(order[-2:]) == {0, 1}
    strong = found.r[np.ix_(order[:12], order[:12])] > 0.5
    assert all(strong[4 * k : 4 * k + 4, 4 * k : 4 * k + 4].all() for k in range(3))
