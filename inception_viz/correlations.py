"""How channels fire together: similarity matrices over positions, over pictures, or of the positions where channels fire most.

A constant channel (a dead one, for instance) correlates with nothing: its rows and columns are nan, it is counted, never shown as zero. So it is
with a channel that holds nan or infinity, as a network with broken weights may give.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from torch import Tensor

from inception_viz.errors import VisitorError
from inception_viz.moments import CrossMoments, Moments, cross_moments, on_one_grid, samples
from inception_viz.text import message

TOP_SHARE = 0.1  # of the positions, where a channel counts as firing in the binary definition
FLAT = 1e-6  # a channel whose deviation is below this share of its size is rounding, not signal


class TooFewPictures(VisitorError):
    """An image-level correlation needs several pictures."""

    words = message("Correlation over pictures needs at least {allowed} pictures; there are {found}.")


@dataclass(frozen=True, eq=False)
class Correlation:
    """Similarity of C channels: `r` (C, C) float32, symmetric, 1 on the diagonal, nan for constant channels; `n` samples were looked at.

    Pearson's r unless the maker says otherwise. Over few positions r is large by chance: at n = 49, a tenth of independent pairs exceed 0.24.
    """

    r: np.ndarray
    constant: np.ndarray
    n: int

    def part(self, start: int, stop: int) -> "Correlation":
        """The channels `start:stop` alone, a view: a branch's correlation is a slice of its block's."""
        if (start, stop) not in self._parts:
            self._parts[start, stop] = Correlation(self.r[start:stop, start:stop], self.constant[start:stop], self.n)
        return self._parts[start, stop]

    @cached_property
    def _parts(self) -> dict[tuple[int, int], "Correlation"]:
        return {}

    def pairs(self) -> np.ndarray:
        """Every pair of live channels once: `(pairs,)`."""
        live = np.flatnonzero(~self.constant)
        r = self.r if len(live) == len(self.r) else self.r[np.ix_(live, live)]
        return squareform(r, checks=False) if len(r) > 1 else r[:0].ravel()

    @property
    def pair_count(self) -> int:
        """How many pairs of live channels there are."""
        live = int((~self.constant).sum())
        return live * (live - 1) // 2

    @cached_property
    def strength(self) -> float:
        """Mean |r| over all pairs of live channels; nan if there is none."""
        pairs = self.pairs()
        return float(np.abs(pairs).mean(dtype=np.float64)) if len(pairs) else float("nan")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that it holds: equal similarities have equal ones."""
        running = hashlib.sha256(repr((self.n, self.r.shape, self.r.dtype)).encode())
        for array in (self.r, self.constant):
            running.update(np.ascontiguousarray(array).data)
        return running.hexdigest()

    @cached_property
    def _leaves(self) -> np.ndarray:
        live, rest = np.flatnonzero(~self.constant), np.flatnonzero(self.constant)
        if len(live) >= 3:
            live = live[leaves_list(linkage(1 - self.pairs().astype(np.float64), "average"))]
        found = np.concatenate([live, rest])
        found.setflags(write=False)
        return found


@dataclass(frozen=True, eq=False)
class CrossCorrelation:
    """Similarity between the A channels of one block and the B of another: `r` (A, B) float32, nan for constant ones; `n` positions."""

    r: np.ndarray
    n: int


def _wide(values: Tensor) -> Tensor:
    """A copy in float64, or float32 where the device has no more (MPS)."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64, copy=True)


def _flat(deviation: Tensor, size: Tensor) -> Tensor:
    """Where a channel's deviation from its mean is no more than rounding of its size, or is not finite."""
    return ~((deviation > FLAT * size) & deviation.isfinite())


def _standard(values: Tensor) -> tuple[Tensor, Tensor]:
    """Samples `(C, n)` less each channel's mean, with length 1, and where they are flat `(C,)`: zero there.

    In float64, since a mean far from zero would eat the digits; in place, since fresh memory costs more than the sums.
    """
    wide = _wide(values)
    size = wide.norm(dim=1)
    wide -= wide.mean(1, keepdim=True)
    norm = wide.norm(dim=1)
    flat = _flat(norm, size)
    wide /= norm[:, None]
    return wide.masked_fill_(flat[:, None], 0), flat


def _finished(product: Tensor, flat: Tensor, n: int) -> Correlation:
    product = product.add_(product.T.contiguous()).mul_(0.5)  # X @ X.T is not always symmetric to the last bit
    r, constant = product.cpu().numpy(), flat.cpu().numpy()
    r = np.clip(r, -1, 1, out=r)
    np.fill_diagonal(r, 1)
    undefined = np.where(constant, np.float32(np.nan), np.float32(0))
    r += undefined[:, None]  # many times as fast as writing nan into rows and columns by number
    r += undefined
    r.setflags(write=False)
    constant.setflags(write=False)
    return Correlation(r, constant, n)


def pearson(values: Tensor) -> Correlation:
    """Pearson's r of samples `(C, n)` in one float32 matrix product; equal to numpy.corrcoef to 1e-5."""
    unit, flat = _standard(values)
    unit = unit.float()
    return _finished(unit @ unit.T, flat, values.shape[1])


def correlate(activation: Tensor) -> Correlation:
    """Pearson's r of the channels of `(C, H, W)` or `(N, C, H, W)`, positions as samples (the "spatial" definition)."""
    return pearson(samples(activation))


def from_moments(moments: Moments) -> Correlation:
    """Pearson's r from accumulated moments."""
    squares = moments.comoment.diagonal()
    flat = _flat(squares.sqrt(), (squares + moments.n * moments.mean.square()).sqrt())
    scale = torch.where(flat, 0, squares.rsqrt())
    r = moments.comoment * scale[:, None] * scale
    return _finished(r.float(), flat, moments.n)


def from_cross_moments(moments: CrossMoments) -> CrossCorrelation:
    """Pearson's r between two blocks from accumulated moments."""
    flat_a = _flat(moments.squares_a.sqrt(), (moments.squares_a + moments.n * moments.mean_a.square()).sqrt())
    flat_b = _flat(moments.squares_b.sqrt(), (moments.squares_b + moments.n * moments.mean_b.square()).sqrt())
    r = moments.comoment / torch.outer(moments.squares_a, moments.squares_b).sqrt()
    r[flat_a], r[:, flat_b] = torch.nan, torch.nan
    return CrossCorrelation(r.clamp(-1, 1).float().cpu().numpy(), moments.n)


def across(a: Tensor, b: Tensor) -> CrossCorrelation:
    """Pearson's r between the channels of two blocks, `(A, H, W)` and `(B, H', W')`, on their common grid."""
    a, b = on_one_grid(a, b)
    return from_cross_moments(cross_moments(samples(a), samples(b)))


def image_level(pooled: Tensor, change: Callable[[Tensor], Tensor] = lambda values: values) -> Correlation:
    """Pearson's r over pictures of pooled activations `(N, C)` (the "image-level" definition). Raises TooFewPictures below three.

    It takes 20 pictures or more to mean anything.
    """
    if len(pooled) < 3:
        raise TooFewPictures(found=len(pooled), allowed=3)
    return pearson(change(pooled.T))


def jaccard(activation: Tensor, share: float = TOP_SHARE) -> Correlation:
    """Jaccard similarity of the positions where each channel fires most (the "binary" definition): common ones over all, from 0 to 1.

    A channel fires at its top `share` of positions, where it is above its lowest value; positions that tie with the last one count too.
    """
    values = samples(activation).float()
    keep = max(1, round(share * values.shape[1]))
    threshold = values.topk(keep, dim=1).values[:, -1:]
    lowest = values.amin(1, keepdim=True)
    fires = ((values >= threshold) & (values > lowest)).float()
    spread = values.amax(1) - lowest[:, 0]
    both = fires @ fires.T
    count = fires.sum(1)
    either = (count[:, None] + count - both).clamp(min=1)
    return _finished(both / either, _flat(spread, values.abs().amax(1)), values.shape[1])


def log1p(values: Tensor) -> Tensor:
    """log(1 + a) of activations, which ReLU keeps at or above zero: less is decided by a few strong positions."""
    return values.clamp(min=0).log1p()


def ranks(values: Tensor) -> Tensor:
    """Ranks of the samples `(C, n)` of each channel, ties averaged: Pearson's r of them is Spearman's.

    A channel that is constant up to rounding gets equal ranks: those of its rounding errors would look like a signal.
    """
    _, flat = _standard(values)
    ranked = rankdata(values.masked_fill(flat[:, None], 0).cpu().numpy(), axis=1)
    return torch.from_numpy(ranked).to(values.device, torch.float32)


def without_mean_map(values: Tensor) -> Tensor:
    """Samples `(C, n)` with the first principal component over channels taken out: what is left when "everything fires on the object" is not news."""
    standard, _ = _standard(values)
    _, vectors = torch.linalg.eigh(standard @ standard.T)  # (C, C), however many samples there are
    loading = vectors[:, -1:]
    left = standard - loading @ (loading.T @ standard)
    return torch.where(left.norm(dim=1, keepdim=True) > FLAT, left, 0)  # of a channel that is the mean map itself only rounding is left


PLAIN = message("as they are")
TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    PLAIN: lambda values: values,
    message("log(1 + a)"): log1p,
    message("ranks (Spearman)"): ranks,
    message("without the mean map"): without_mean_map,
}

DEFINITIONS: Mapping[str, str] = {
    "spatial": message("over the positions of the picture"),
    "binary": message("by the positions where each fires most (Jaccard)"),
    "image": message("over several pictures"),
}
Measure = Callable[[Tensor], Correlation]


def measure(definition: str = "spatial", transform: str = PLAIN) -> Measure:
    """How alike channels fire, by one of DEFINITIONS: a function of `(C, H, W)`, for "image" of pooled activations `(N, C)`.

    `transform` is one of TRANSFORMS; the binary definition, which knows only more and less, has no use for it.
    """
    change = TRANSFORMS[transform]
    kinds: Mapping[str, Measure] = {
        "spatial": lambda activation: pearson(change(samples(activation))),
        "binary": jaccard,
        "image": lambda pooled: image_level(pooled, change),
    }
    return kinds[definition]


def transformed(values: Tensor, definition: str = "spatial", transform: str = PLAIN) -> Tensor:
    """What `measure(definition, transform)` correlates, in the shape of `values`: `(C, H, W)`, or for "image" `(N, C)`."""
    change = TRANSFORMS[transform]
    kinds: Mapping[str, Callable[[Tensor], Tensor]] = {
        "spatial": lambda activation: change(samples(activation)).reshape(activation.shape),
        "binary": lambda activation: activation,
        "image": lambda pooled: change(pooled.T).T,
    }
    return kinds[definition](values)


def order(correlation: Correlation) -> np.ndarray:
    """An order of the channels for drawing, `(C,)`: leaves of average linkage on 1 - r, constant channels last."""
    return correlation._leaves
