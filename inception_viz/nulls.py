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
from inception_viz.correlations import FLAT, Correlation, Measure
from inception_viz.models import Model, initialise
from inception_viz.text import message

LEVEL = 0.05
DRAWS = 19  # the fewest that allow p = 0.05
ROWS = 64  # channels that are shifted against all others at a time, for memory
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
    for seed in range(count):
        taken = capture(twin(model, seed), inputs, gradients=False).activations
        yield {name: a[0] if len(a) == 1 else a.mean((2, 3)) for name, a in taken.items()}


def draws(kind: str, values: Tensor, measure: Measure, twins: Iterable[Tensor] = (), count: int = DRAWS) -> Iterator[Correlation]:
    """The similarity `measure` of `values`, (C, H, W) or pooled (N, C), as each draw of one of KINDS gives it.

    For UNTRAINED, of `twins`, what as many untrained twins give on the same picture or pictures.
    """
    if kind == UNTRAINED:
        yield from map(measure, twins)
        return
    change = {SHIFT: shift, PICTURES: permute}[kind]
    for seed in range(count):
        yield measure(change(values, seed))


def shift_p(activation: Tensor) -> np.ndarray:
    """The exact p of every pair under the shift null, `(C, C)` float32: the share of all H x W shifts whose |r| is at least the real one's.

    All shifts of all pairs come from products of Fourier transforms. The real position is one of the shifts, so that p is at least 1 / (H W): on a
    7x7 map no single pair can be rarer than one in 49, whatever its r. nan for constant channels.
    """
    maps = activation.double()
    _, height, width = maps.shape
    centred = maps - maps.mean((1, 2), keepdim=True)
    norm = centred.flatten(1).norm(dim=1)
    live = norm > FLAT * maps.flatten(1).norm(dim=1)
    unit = torch.where(live[:, None, None], centred / norm.clamp(min=torch.finfo(torch.float64).tiny)[:, None, None], 0).float()
    transformed = torch.fft.rfft2(unit)
    p = torch.empty(len(maps), len(maps))
    for start in range(0, len(maps), ROWS):
        part = transformed[start : start + ROWS, None] * transformed.conj()[None]
        r = torch.fft.irfft2(part, s=(height, width)).abs()
        p[start : start + ROWS] = (r >= r[..., :1, :1] - 1e-5).float().mean((2, 3)).cpu()
    p[~live.cpu()], p[:, ~live.cpu()] = torch.nan, torch.nan
    return p.numpy()


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
    """A similarity as it would be without what is asked for: `first` of `draws`, and as many pairs as that has, taken from all draws in turn."""

    kind: str
    first: Correlation
    pairs: np.ndarray
    draws: int


def drawn(kind: str, similarities: Iterable[Correlation]) -> Null:
    """What several draws of a null hold together. Raises ValueError if there is none."""
    found = list(similarities)
    if not found:
        raise ValueError("a null needs at least one draw")
    pairs = np.concatenate([s.pairs()[i :: len(found)] for i, s in enumerate(found)])
    return Null(kind, found[0], pairs, len(found))


@dataclass(frozen=True)
class AgainstChance:
    """How many pairs of a block are beyond chance: the `share` of `pairs` with p at most `level`, and the share still called after adjustment.

    By chance the first is about `level`, or less where no p is so small (`smallest` is the smallest that can be); the second is 0.
    """

    share: float
    adjusted_share: float
    pairs: int
    level: float
    smallest: float


def against_chance(p: np.ndarray, smallest: float, level: float = LEVEL) -> AgainstChance:
    """The shares of pairs whose p `(C, C)`, plain and adjusted, is at most `level`; nan where there are no live pairs."""
    values = p[np.triu_indices(len(p), 1)]
    values = values[~np.isnan(values)]
    if not len(values):
        return AgainstChance(float("nan"), float("nan"), 0, level, smallest)
    return AgainstChance(float((values <= level).mean()), float((adjusted(values) <= level).mean()), len(values), level, smallest)
