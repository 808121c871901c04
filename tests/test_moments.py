"""Moments that are merged equal those of all samples at once, in any order and at any batch size."""

import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import moments
from inception_viz.correlations import correlate, from_cross_moments, from_moments


def batches(values: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    edges = [0, *sorted({c % (values.shape[1] - 1) + 1 for c in cuts}), values.shape[1]]
    return [values[:, a:b] for a, b in itertools.pairwise(edges) if b > a]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 10**6), max_size=8), st.floats(-1e3, 1e3))
def test_merging_equals_all_at_once(seed: int, cuts: list[int], shift: float) -> None:
    values = torch.from_numpy(np.random.default_rng(seed).normal(shift, 2, (5, 40)))
    parts = [moments.moments(b) for b in batches(values, cuts)]
    whole = moments.moments(values)
    for order in (parts, parts[::-1]):
        merged = functools.reduce(moments.merge, order)
        assert merged.n == whole.n
        assert torch.allclose(merged.mean, whole.mean, rtol=1e-9, atol=1e-9)
        assert torch.allclose(merged.comoment, whole.comoment, rtol=1e-6, atol=1e-6)


def test_the_comoment_is_numpys_covariance_times_its_divisor() -> None:
    values = np.random.default_rng(0).normal(size=(4, 30))
    found = moments.moments(torch.from_numpy(values))
    assert found.comoment.numpy() == pytest.approx(np.cov(values) * 29)
    assert found.mean.numpy() == pytest.approx(values.mean(1))


def test_float32_activations_keep_their_digits_far_from_zero() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(1e4, 0.1, (6, 500))).float()
    assert from_moments(moments.moments(values)).r == pytest.approx(np.corrcoef(values.double().numpy()), abs=1e-5)


def test_cross_moments_merge_and_correlate_like_numpy() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(3, 50)), generator.normal(size=(4, 50))
    cut = [moments.cross_moments(torch.from_numpy(a[:, s]), torch.from_numpy(b[:, s])) for s in (slice(0, 20), slice(20, 50))]
    found = from_cross_moments(moments.merge_cross(*cut))
    assert found.r == pytest.approx(np.corrcoef(a, b)[:3, 3:], abs=1e-6)
    assert found.n == 50


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 2**31), st.tuples(*[st.integers(0, 12)] * 3))
def test_it_does_not_matter_what_is_merged_first(seed: int, sizes: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(seed)
    a, b, c = (moments.moments(torch.from_numpy(generator.normal(50, 3, (4, size)))) for size in sizes)
    left, right = moments.merge(moments.merge(a, b), c), moments.merge(a, moments.merge(c, b))
    assert left.n == right.n == sum(sizes)
    assert torch.allclose(left.mean, right.mean, rtol=1e-12)
    assert torch.allclose(left.comoment, right.comoment, rtol=1e-9, atol=1e-9)


def test_no_samples_merge_without_a_trace() -> None:
    none = moments.moments(torch.zeros(3, 0))
    some = moments.moments(torch.from_numpy(np.random.default_rng(4).normal(size=(3, 8))))
    for merged in (moments.merge(none, some), moments.merge(some, none)):
        assert merged.n == 8
        assert torch.equal(merged.mean, some.mean)
        assert torch.equal(merged.comoment, some.comoment)
    assert moments.merge(none, none).n == 0
    assert from_moments(none).constant.all()
    pair = moments.cross_moments(torch.zeros(3, 0), torch.zeros(2, 0))
    assert torch.equal(moments.merge_cross(pair, pair).comoment, torch.zeros(3, 2, dtype=torch.float64))


def test_many_batches_of_activations_lose_no_digits() -> None:
    """The promise of streaming: 1e-6 relative to all at once in float64, picture by picture, dead and constant channels among them."""
    activation = torch.from_numpy(np.random.default_rng(5).normal(0.3, 1, (200, 6, 4, 4))).float().relu()
    activation[:, 2], activation[:, 4] = 0, 0.1
    order = np.random.default_rng(6).permutation(200)
    merged = functools.reduce(moments.merge, [moments.moments(moments.samples(activation[i])) for i in order])
    whole = moments.moments(moments.samples(activation))
    size = whole.comoment.diagonal().max()
    assert (merged.comoment - whole.comoment).abs().max() < 1e-9 * size
    assert from_moments(merged).constant.tolist() == [False, False, True, False, True, False]


def test_many_pictures_are_more_positions() -> None:
    activation = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 4, 5, 6))).float()
    merged = functools.reduce(moments.merge, [moments.moments(moments.samples(a)) for a in activation])
    assert from_moments(merged).r == pytest.approx(correlate(activation).r, abs=1e-6)
    assert merged.n == 3 * 5 * 6
