"""Counts, means and co-moments of channels: all that a correlation needs, in constant memory over any number of pictures.

An accumulator has three verbs: make one of a batch (`moments`), `merge` two, read its value (`correlations.from_moments`). Merging is exact up to
rounding in float64, in any order and at any batch size: Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional


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


def on_one_grid(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two blocks' activations `(C, H, W)` or `(N, C, H, W)` on the coarser of both grids, averaged over area."""
    side = (min(a.shape[-2], b.shape[-2]), min(a.shape[-1], b.shape[-1]))
    small = [values.float() if values.shape[-2:] == side else functional.adaptive_avg_pool2d(values.float(), side) for values in (a, b)]
    return small[0], small[1]


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


CHUNK = 1024  # samples that one product sums in float32: the rounding of longer sums would show in the sixth digit
PANEL = 96  # channels: of a symmetric product only the panels on and above the diagonal are computed


def rows(activation: Tensor) -> Tensor:
    """Positions as samples, channels last: `(N, C, H, W)` becomes `(N*H*W, C)`, a view where the network computes channels_last."""
    return activation.permute(0, 2, 3, 1).reshape(-1, activation.shape[1])


class Product:
    """The sum over samples of the products of every a with every b, `(A, B)`: in float32 as fast as the device multiplies, a chunk at a time.

    What is summed should be near zero on average, or often exactly zero: then the result is exact to 1e-6 of the size of the summed products. In
    `symmetric` products a and b are the same samples, and the part below the diagonal is filled in at the end.
    """

    def __init__(self, a: int, b: int, device: torch.device, symmetric: bool = False) -> None:
        self._sum = torch.zeros(a, b, device=device)
        self._symmetric = symmetric
        count = max(1, round(a / PANEL)) if symmetric else 1
        self._panels = list(pairwise([a * i // count for i in range(count + 1)]))
        self._room = torch.empty(max(stop - start for start, stop in self._panels) * b, device=device)

    def add(self, a: Tensor, b: Tensor) -> None:
        """The products of samples `(n, A)` and `(n, B)` too."""
        for begin in range(0, len(a), CHUNK):
            left, right = a[begin : begin + CHUNK], b[begin : begin + CHUNK]
            for start, stop in self._panels:
                first = start if self._symmetric else 0
                place = self._room[: (stop - start) * (right.shape[1] - first)].view(stop - start, -1)
                torch.mm(left[:, start:stop].T, right[:, first:], out=place)
                self._sum[start:stop, first:] += place

    def value(self) -> Tensor:
        """The sum in float64, on the CPU."""
        total = self._sum.cpu().double()
        return total.triu() + total.triu(1).T if self._symmetric else total

    def diagonal(self) -> Tensor:
        """The sums of squares of a symmetric product, in float64, on the CPU."""
        return self._sum.diagonal().cpu().double()


class Gathering:
    """Moments of the blocks of a network, each block's own and those between neighbours, gathered over batches of activations.

    `blocks` gives every block's channels, in the order of the network. A channel whose mean is large against its deviation in the first batch is taken
    less that mean, so that float32 does. Others are not: where a channel is silent its products then are exactly zero, while many equal small ones
    would all be rounded in the same direction. What is gathered should be read after some hundred pictures, and merged in float64.
    """

    def __init__(self, blocks: Mapping[str, int], device: torch.device) -> None:
        self.blocks, self.pairs = blocks, list(pairwise(blocks))
        self._device = device
        self._shift: dict[str, Tensor] = {}
        self._n = dict.fromkeys([*blocks, *self.pairs], 0)
        self._within = {name: Product(c, c, device, symmetric=True) for name, c in blocks.items()}
        self._between = {(a, b): Product(blocks[a], blocks[b], device) for a, b in self.pairs}
        self._sums: dict[Hashable, Tensor] = {}

    def add(self, activations: Mapping[str, Tensor]) -> None:
        """The positions of one batch of pictures, `(N, C, H, W)` by block."""
        centred = {name: self._centred(name, activations[name]) for name in self.blocks}
        for name, values in centred.items():
            samples_ = rows(values)
            self._n[name] += len(samples_)
            self._within[name].add(samples_, samples_)
            self._count(name, samples_.sum(0))
        for pair in self.pairs:
            own = [centred[name] for name in pair]
            both = on_one_grid(*own)
            a, b = (rows(values) for values in both)
            self._n[pair] += len(a)
            self._between[pair].add(a, b)
            for name, mine, values in zip(pair, own, both, strict=True):
                if values is not mine:  # on its own grid a block's sums are those within it
                    self._count((pair, name), rows(values).sum(0))
                    self._count((pair, name, "squares"), rows(values).square().sum(0))

    def _centred(self, name: str, activation: Tensor) -> Tensor:
        if name not in self._shift:
            deviation, mean = torch.std_mean(activation.float(), (0, 2, 3), correction=0)
            self._shift[name] = torch.where(mean.abs() > deviation, mean, 0)
        return activation.float() - self._shift[name][:, None, None]

    def _count(self, key: Hashable, sums: Tensor) -> None:
        wide = sums.cpu().double()
        self._sums[key] = self._sums[key] + wide if key in self._sums else wide

    def within(self, name: str) -> Moments:
        """The moments of one block over all positions gathered."""
        n, total = self._n[name], self._sums[name]
        comoment = self._within[name].value() - torch.outer(total, total) / max(n, 1)
        return Moments(n, self._mean(name, total, n), comoment)

    def between(self, a: str, b: str) -> CrossMoments:
        """The moments between two neighbouring blocks over the positions of their common grid."""
        pair, n = (a, b), self._n[a, b]
        (sa, squares_a), (sb, squares_b) = (self._alone(pair, name) for name in pair)
        return CrossMoments(
            n,
            self._mean(a, sa, n),
            self._mean(b, sb, n),
            self._between[pair].value() - torch.outer(sa, sb) / max(n, 1),
            squares_a - sa.square() / max(n, 1),
            squares_b - sb.square() / max(n, 1),
        )

    def _alone(self, pair: tuple[str, str], name: str) -> tuple[Tensor, Tensor]:
        """Sums and sums of squares of one of two blocks on their common grid."""
        if (pair, name) in self._sums:
            return self._sums[pair, name], self._sums[pair, name, "squares"]
        return self._sums[name], self._within[name].diagonal()

    def _mean(self, name: str, total: Tensor, n: int) -> Tensor:
        return self._shift[name].cpu().double() + total / max(n, 1)
