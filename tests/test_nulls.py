"""The shift null: exact, true to its level on unrelated smooth maps, and not blind to what is aligned."""

import numpy as np
import pytest
import torch

from inception_viz import nulls
from inception_viz.correlations import correlate
from tests import naive


def smooth(seed: int, channels: int, side: int = 8) -> np.ndarray:
    """Unrelated maps as smooth as activations are: noise that is averaged round over 3 x 3 positions, twice."""
    maps = np.random.default_rng(seed).normal(size=(channels, side, side))
    for _ in range(2):
        maps = sum(np.roll(maps, (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    return maps


def test_p_is_that_of_the_definition() -> None:
    maps = smooth(0, 5, 4)
    maps[2] = 1.5
    assert nulls.shift_p(torch.from_numpy(maps)) == pytest.approx(naive.shift_p(maps), abs=1e-6, nan_ok=True)


def test_p_is_symmetric_and_never_below_one_in_all_shifts() -> None:
    p = nulls.shift_p(torch.from_numpy(smooth(1, 20)))
    assert np.allclose(p, p.T)
    assert p.min() >= 1 / 64 - 1e-6
    assert np.allclose(np.diagonal(p), 1 / 64)


def test_unrelated_maps_are_called_related_at_the_stated_rate() -> None:
    """False discoveries over 200 seeds: a plain test would call far more pairs related, since smooth maps have few independent positions."""
    shares = [nulls.against_chance(nulls.shift_p(torch.from_numpy(smooth(seed, 12))), 1 / 64).share for seed in range(200)]
    assert np.mean(shares) == pytest.approx(nulls.LEVEL, abs=0.01)
    plain = [np.mean(np.abs(np.corrcoef(smooth(s, 12).reshape(12, -1))[np.triu_indices(12, 1)]) > 0.246) for s in range(50)]
    assert np.mean(plain) > 3 * nulls.LEVEL


def test_aligned_maps_are_found_and_others_are_not() -> None:
    inside = np.repeat(np.arange(3), 4)[:, None] == np.repeat(np.arange(3), 4)
    found = []
    for seed in range(0, 60, 2):
        maps = np.repeat(smooth(seed, 3), 4, 0) + 0.2 * smooth(seed + 1, 12)
        related = nulls.shift_p(torch.from_numpy(maps)) <= nulls.LEVEL
        found.append((related[inside].mean(), related[~inside].mean()))
    recall, false = np.mean(found, axis=0)
    assert recall > 0.98
    assert false < 0.1


def test_shifting_keeps_the_maps_and_breaks_their_alignment() -> None:
    maps = torch.from_numpy(np.repeat(smooth(4, 1), 30, 0))
    real, null = (1.0, correlate(nulls.shift(maps, 0)).pairs())
    assert np.median(np.abs(null)) < 0.5 < real
    assert np.array_equal(correlate(nulls.shift(maps, 0)).r, correlate(nulls.shift(maps, 0)).r)
    assert not np.array_equal(correlate(nulls.shift(maps, 0)).r, correlate(nulls.shift(maps, 1)).r)


def test_without_live_pairs_the_share_is_undefined() -> None:
    p = nulls.shift_p(torch.zeros(3, 4, 4))
    assert np.isnan(p).all()
    assert np.isnan(nulls.against_chance(p, 1 / 16).share)
