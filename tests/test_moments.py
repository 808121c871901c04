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


BLOCKS = {"a": 24, "b": 40, "c": 33}


def responses(seed: int, pictures: int) -> dict[str, torch.Tensor]:
    """Activations as a network gives them: not negative, of very different sizes, one channel dead, one constant; on two grids."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(pictures, 1, 8, 8))

    def block(channels: int, side: int) -> torch.Tensor:
        scale = np.exp(generator.normal(0, 2, (1, channels, 1, 1)))
        common = shared[:, :, :: 8 // side, :: 8 // side] * generator.normal(size=(1, channels, 1, 1))
        values = torch.from_numpy(scale * (generator.normal(0.2, 1, (pictures, channels, side, side)) + common)).float().relu()
        values[:, 1], values[:, 2] = 0, 0.37
        return values.to(memory_format=torch.channels_last)

    return {"a": block(24, 8), "b": block(40, 8), "c": block(33, 4)}


def relative(found: torch.Tensor, whole: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference between co-moments, relative to the size of the two channels' deviations."""
    size = torch.outer(a, b).sqrt()
    return float(((found - whole).abs() / torch.where(size > 1e-9, size, 1)).max())


def gathered(activations: dict[str, torch.Tensor], batch: int, shard: int, order: np.ndarray) -> list[moments.Gathering]:
    shards = []
    for first in range(0, len(order), shard):
        gathering = moments.Gathering(BLOCKS, torch.device("cpu"))
        for start in range(first, min(first + shard, len(order)), batch):
            chosen = order[start : min(start + batch, first + shard)]
            gathering.add({name: values[chosen] for name, values in activations.items()})
        shards.append(gathering)
    return shards


@settings(deadline=None, max_examples=12, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 90))
def test_streaming_is_exact_at_any_batch_size_and_in_any_order(seed: int, batch: int, shard: int) -> None:
    """The promise of a corpus: float32 products, yet 1e-6 relative to everything at once in float64."""
    activations = responses(seed, 96)
    parts = gathered(activations, batch, shard, np.random.default_rng(seed).permutation(96))
    wide = {name: values.double() for name, values in activations.items()}
    for name in BLOCKS:
        found = functools.reduce(moments.merge, [part.within(name) for part in parts])
        whole = moments.moments(moments.samples(wide[name]))
        squares = whole.comoment.diagonal()
        assert found.n == whole.n
        assert relative(found.comoment, whole.comoment, squares, squares) < 1e-6
        assert torch.allclose(found.mean, whole.mean, rtol=1e-6, atol=1e-9)
        assert from_moments(found).constant.nonzero()[0].tolist() == [1, 2]
    for a, b in (("a", "b"), ("b", "c")):
        found_pair = functools.reduce(moments.merge_cross, [part.between(a, b) for part in parts])
        whole_pair = moments.cross_moments(*map(moments.samples, on_one_grid_in_float64(wide[a], wide[b])))
        assert relative(found_pair.comoment, whole_pair.comoment, whole_pair.squares_a, whole_pair.squares_b) < 1e-6
        for side in ("mean_a", "mean_b", "squares_a", "squares_b"):
            assert torch.allclose(getattr(found_pair, side), getattr(whole_pair, side), rtol=1e-6, atol=1e-6), side


def on_one_grid_in_float64(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    side = min(a.shape[-1], b.shape[-1])
    return tuple(values.unflatten(2, (side, -1)).unflatten(4, (side, -1)).mean((3, 5)) for values in (a, b))  # type: ignore[return-value]


def test_a_symmetric_product_is_the_whole_one() -> None:
    values = torch.randn(500, 400, generator=torch.Generator().manual_seed(0))
    product = moments.Product(400, 400, torch.device("cpu"), symmetric=True)
    product.add(values[:200], values[:200])
    product.add(values[200:], values[200:])
    whole = values.double().T @ values.double()
    assert (product.value() - whole).abs().max() < 1e-6 * whole.max()
    assert torch.equal(product.value(), product.value().T)


def test_long_sums_keep_their_digits() -> None:
    """30,000 positive products in a row: summed one by one in float32 they would be off in the sixth digit."""
    values = torch.rand(30_000, 3, generator=torch.Generator().manual_seed(1)) + 0.5
    product = moments.Product(3, 3, torch.device("cpu"), symmetric=True)
    product.add(values, values)
    whole = values.double().T @ values.double()
    assert ((product.value() - whole) / whole).abs().max() < 1e-6
