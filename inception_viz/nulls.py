"""What r would be by chance: three ways to keep everything but what is to be explained, and what a real r means beside them.

A map of an image is smooth, so its positions are no independent samples: two unrelated smooth maps correlate strongly by chance. The *shift* null
keeps each map's smoothness and breaks only the alignment: every circular shift of one map against the other is as likely as the real one. The
*untrained* null keeps the architecture and the picture and takes away what was learnt. The *pictures* null, for correlation over pictures, gives each
channel its activations in an order of its own.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import false_discovery_control
from torch import Tensor

from inception_viz.activations import capture
from inception_viz.correlations import FLAT, PLAIN, Correlation, measure, transformed
from inception_viz.models import Model, initialise
from inception_viz.text import message

LEVEL = 0.05
DRAWS = 39  # the fewest that allow p = 0.05 on two sides
RAREST = 12  # pairs that are told one by one
ROWS = 32  # channels that are shifted against all others at a time, for memory
BINS = 1 << 14  # of r over its root mean square
SHIFT, UNTRAINED, PICTURES = "shift", "untrained", "pictures"
KINDS = {
    SHIFT: message("shifted maps"),
    UNTRAINED: message("untrained network"),
    PICTURES: message("permuted pictures"),
}


def shift(activation: Tensor, seed: int) -> Tensor:
    """Maps `(C, H, W)`, each shifted round by an offset of its own."""
    generator = np.random.default_rng(seed)
    _, height, width = activation.shape
    rows, columns = generator.integers(0, height, len(activation)), generator.integers(0, width, len(activation))
    return torch.stack([torch.roll(m, (int(dy), int(dx)), (0, 1)) for m, dy, dx in zip(activation, rows, columns, strict=True)])


def permute(pooled: Tensor, seed: int) -> Tensor:
    """Pooled activations `(N, C)` with every channel's pictures in a random order of its own."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(pooled))[:, None], pooled.shape[1]), axis=0)
    return pooled.gather(0, torch.from_numpy(order).to(pooled.device))


def twin(model: Model, seed: int) -> Model:
    """The same network before any training, with weights drawn from `seed`: same architecture, classes, device and preprocessing."""
    fresh = initialise(copy.deepcopy(model.network).cpu().float(), seed)
    network = fresh.to(model.device, model.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = replace(model.weights, name=UNTRAINED, sha256=f"untrained-{seed}", top1=None, measured_on="", random=True)
    return replace(model, network=network.eval().requires_grad_(False), weights=weights)


def untrained(model: Model, inputs: Tensor, count: int = DRAWS) -> Iterator[dict[str, Tensor]]:
    """Every block's activation `(C, H, W)` of the picture `inputs` (1, 3, S, S), once for each of `count` untrained twins.

    Several pictures `(N, 3, S, S)` give their mean activations `(N, C)` instead.
    """
    one, fresh = twin(model, 0), copy.deepcopy(model.network).cpu().float()
    for seed in range(count):
        one.network.load_state_dict(initialise(fresh, seed).state_dict())  # one network for all: tracing it costs more than running it
        taken = capture(one, inputs, gradients=False).activations
        yield {name: a[0] if len(a) == 1 else a.mean((2, 3)) for name, a in taken.items()}


def draws(
    kind: str, values: Tensor, definition: str = "spatial", transform: str = PLAIN, twins: Iterable[Tensor] = (), count: int = DRAWS
) -> Iterator[Correlation]:
    """The similarity of `values`, (C, H, W) or for "image" pooled (N, C), as each draw of one of KINDS gives it.

    For UNTRAINED, of `twins`, what as many untrained twins give on the same picture or pictures. The others change what is left after the transform:
    to shift maps first and then take their mean map out would take out another one.
    """
    if kind == UNTRAINED:
        yield from map(measure(definition, transform), twins)
        return
    change, ready, similar = {SHIFT: shift, PICTURES: permute}[kind], transformed(values, definition, transform), measure(definition)
    for seed in range(count):
        yield similar(change(ready, seed))


def shift_p(activation: Tensor) -> np.ndarray:
    """p of every pair of maps `(C, H, W)` under the shift null, `(C, C)` float32; nan for constant channels and on the diagonal.

    For each pair r at every shift of one map against the other comes from products of Fourier transforms. A single pair has no more than H x W shifts,
    16 on a 4x4 map; so each r is divided by the pair's own root mean square over all shifts, which says how large r is for maps of this smoothness,
    and held against those of all pairs at all shifts (pooled as in Storey & Tibshirani 2003). The real position is one of the shifts: where much
    is aligned, p is too large rather than too small. Exact to a width of 1 / BINS of the largest ratio.
    """
    maps = activation.double()
    _, height, width = maps.shape
    centred = maps - maps.mean((1, 2), keepdim=True)
    norm = centred.flatten(1).norm(dim=1)
    live = ((norm > FLAT * maps.flatten(1).norm(dim=1)) & norm.isfinite()).nonzero()[:, 0]
    p = np.full((len(maps),) * 2, np.nan, np.float32)
    if len(live) > 1:
        transformed_maps = torch.fft.rfft2((centred[live] / norm[live, None, None]).float())
        found = _pooled_shift_p(transformed_maps, height, width)
        p[np.ix_(live.cpu().numpy(), live.cpu().numpy())] = found
    return p


def _pooled_shift_p(transformed_maps: Tensor, height: int, width: int) -> np.ndarray:
    count, most = len(transformed_maps), (height * width) ** 0.5  # r over its root mean square is at most that
    ratio, seen = torch.empty(count, count), torch.zeros(BINS + 1, dtype=torch.float64)
    for start in range(0, count, ROWS):
        r = torch.fft.irfft2(transformed_maps[start : start + ROWS, None] * transformed_maps.conj()[None], s=(height, width)).abs()
        relative = r / r.square().mean((2, 3), keepdim=True).sqrt().clamp(min=FLAT)
        rows = torch.arange(len(relative))
        relative[rows, start + rows] = -1  # a map against itself is no pair
        cells = (relative * (BINS / most)).floor()
        seen += torch.histc(cells.clamp(max=BINS).cpu(), BINS + 1, -0.5, BINS + 0.5).double()
        ratio[start : start + ROWS] = cells[..., 0, 0].cpu()
    reached = seen.flip(0).cumsum(0).flip(0) / seen.sum()
    p = reached[ratio.clamp(0, BINS).long()].float().numpy()
    np.fill_diagonal(p, np.nan)
    return p


def rank_p(r: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p of every value of `r` against pairs `null` (n,) drawn without what is asked for: (1 + those with at least this |r|) / (1 + n); nan stays nan."""
    least = np.sort(np.abs(null))
    p = (1 + len(least) - np.searchsorted(least, np.abs(r) - 1e-6)) / (1 + len(least))
    return np.where(np.isnan(r), np.nan, p).astype(np.float32)


def adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini & Hochberg's (1995) adjusted p of the values that are not nan: call all up to q, and a share of about q of them is chance."""
    q = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known].astype(np.float64))
    return q


@dataclass(frozen=True, eq=False)
class Null:
    """A similarity as it would be without what is asked for: `first` of the draws, `pairs` (n,) as many as that has, taken from all draws in turn,
    and each draw's mean |r|, `strengths` (draws,)."""

    kind: str
    first: Correlation
    pairs: np.ndarray
    strengths: np.ndarray

    @property
    def draws(self) -> int:
        """How many draws there were."""
        return len(self.strengths)

    def p(self, value: float) -> float:
        """How rare a mean |r| of `value` is on either side: twice the smaller of (1 + draws that reach it) / (1 + draws), at most 1."""
        above, below = (self.strengths >= value).sum(), (self.strengths <= value).sum()
        return float(min(1.0, 2 * (1 + min(above, below)) / (1 + self.draws)))


def drawn(kind: str, similarities: Iterable[Correlation]) -> Null:
    """What several draws of a null hold together. Raises ValueError if there is none."""
    found = list(similarities)
    if not found:
        raise ValueError("a null needs at least one draw")
    pairs = np.concatenate([s.pairs()[i :: len(found)] for i, s in enumerate(found)])
    return Null(kind, found[0], pairs, np.array([s.strength for s in found]))


@dataclass(frozen=True)
class AgainstChance:
    """How many pairs of a block are beyond chance: the `share` of `pairs` with p at most `level`, and the share still called after adjustment.

    By chance the first is about `level`, the second 0.
    """

    share: float
    adjusted_share: float
    pairs: int
    level: float


@dataclass(frozen=True, eq=False)
class PairTests:
    """Every pair of a block against chance: `p` and `q`, adjusted over all pairs (Benjamini-Hochberg), `(C, C)` float32, symmetric.

    nan on the diagonal and for constant channels.
    """

    p: np.ndarray
    q: np.ndarray

    def against_chance(self, level: float = LEVEL) -> AgainstChance:
        """The shares of pairs whose p, plain and adjusted, is at most `level`; nan where there are no live pairs."""
        p, q = (values[np.triu_indices(len(values), 1)] for values in (self.p, self.q))
        known = ~np.isnan(p)
        if not known.any():
            return AgainstChance(float("nan"), float("nan"), 0, level)
        return AgainstChance(float((p[known] <= level).mean()), float((q[known] <= level).mean()), int(known.sum()), level)


def pair_tests(p: np.ndarray) -> PairTests:
    """p `(C, C)` of all pairs with what is left of each after Benjamini-Hochberg over all of them."""
    upper = np.triu_indices(len(p), 1)
    pairs, q = p[upper].astype(np.float32), np.full(p.shape, np.nan, np.float32)
    q[upper] = q.T[upper] = adjusted(pairs)
    symmetric = np.full(p.shape, np.nan, np.float32)
    symmetric[upper] = symmetric.T[upper] = pairs
    return PairTests(symmetric, q)


def against_chance(p: np.ndarray, level: float = LEVEL) -> AgainstChance:
    """The shares of pairs whose p `(C, C)`, plain and adjusted, is at most `level`; nan where there are no live pairs."""
    return pair_tests(p).against_chance(level)


def rarest(tests: PairTests, similar: Correlation, most: int = RAREST) -> list[tuple[int, int]]:
    """The pairs of channels farthest from chance: least p first, of equal ones those with the largest |r|."""
    rows, columns = np.triu_indices(len(tests.p), 1)
    p, r = tests.p[rows, columns], np.abs(similar.r[rows, columns])
    order = np.lexsort((-r, p))[: min(most, int((~np.isnan(p)).sum()))]  # nan sorts last
    return [(int(rows[i]), int(columns[i])) for i in order]
