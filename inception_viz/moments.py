"""Counts, means and co-moments of channels: all that a correlation needs, in constant memory over any number of pictures.

An accumulator has three verbs: make one of a batch (`moments`), `merge` two, read its value (`correlations.from_moments`). Merging is exact up to
rounding in float64, in any order and at any batch size: Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """Of `n` samples of C channels: `mean` (C,) and `comoment` (C, C), the sum of products of deviations from the mean; float64."""

    n: int
    mean: Tensor
    comoment: Tensor


@dataclass(frozen=True, eq=False)
class CrossMoments:
    """Of `n` paired samples of two sets of channels: means (A,) and (B,), co-moment between them (A, B), and each one's own sums of squares."""

    n: int
    mean_a: Tensor
    mean_b: Tensor
    comoment: Tensor
    squares_a: Tensor
    squares_b: Tensor


def samples(activation: Tensor) -> Tensor:
    """Positions as samples: `(C, H, W)` or `(N, C, H, W)` becomes `(C, N*H*W)`."""
    if activation.ndim == 3:
        return activation.flatten(1)
    return activation.movedim(1, 0).flatten(1)


def _wide(values: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _mean(values: Tensor) -> Tensor:
    return values.sum(1) / max(values.shape[1], 1)  # zero for no samples, so that they merge into anything without a trace


def moments(values: Tensor) -> Moments:
    """Moments of samples `(C, n)`; none at all are moments too."""
    values = _wide(values)
    mean = _mean(values)
    centred = values - mean[:, None]
    return Moments(values.shape[1], mean, centred @ centred.T)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of samples together (Chan, Golub & LeVeque 1983, eq. 2.1)."""
    n = a.n + b.n
    difference, share = b.mean - a.mean, b.n / max(n, 1)
    return Moments(n, a.mean + difference * share, a.comoment + b.comoment + torch.outer(difference, difference) * (a.n * share))


def cross_moments(a: Tensor, b: Tensor) -> CrossMoments:
    """Moments between samples `(A, n)` and `(B, n)`, taken at the same positions."""
    a, b = _wide(a), _wide(b)
    mean_a, mean_b = _mean(a), _mean(b)
    a, b = a - mean_a[:, None], b - mean_b[:, None]
    return CrossMoments(a.shape[1], mean_a, mean_b, a @ b.T, a.square().sum(1), b.square().sum(1))


def merge_cross(a: CrossMoments, b: CrossMoments) -> CrossMoments:
    """The cross-moments of both sets of samples together."""
    n = a.n + b.n
    da, db, share = b.mean_a - a.mean_a, b.mean_b - a.mean_b, b.n / max(n, 1)
    return CrossMoments(
        n,
        a.mean_a + da * share,
        a.mean_b + db * share,
        a.comoment + b.comoment + torch.outer(da, db) * (a.n * share),
        a.squares_a + b.squares_a + da.square() * (a.n * share),
        a.squares_b + b.squares_b + db.square() * (a.n * share),
    )
