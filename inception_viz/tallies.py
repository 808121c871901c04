"""What is gathered of any number of pictures in constant memory: one `Tally` a kind, each a function of batches that can be merged.

A tally has three verbs. `begin` makes a gatherer for one shard (some hundred pictures in a row), which is shown batch after batch and gives its arrays;
`merge` puts the arrays of two neighbouring shards together, the earlier first; what the arrays mean is read elsewhere (`statistics`). Arrays are plain
numpy by name, so that they can be written to a checkpoint, sent from another machine, and compared bit by bit. A shard is gathered in one go
by one worker and shards are merged in their order: where a run was cut and who did the work leaves no trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inception_viz.architecture import Block
from inception_viz.moments import CrossMoments, Gathering, Moments, merge, merge_cross, moments, rows
from inception_viz.sealed import Arrays


@dataclass(frozen=True)
class Setting:
    """What is known before the first picture: the blocks, the device, and how many classes of pictures are told apart."""

    blocks: tuple[Block, ...]
    device: torch.device
    classes: int


@dataclass(frozen=True, eq=False)
class Seen:
    """One batch of N pictures and what the network answered.

    `numbers` (N,) are the pictures' places in the corpus, `classes` (N,) the class of each, -1 for none; `inputs` (N, 3, S, S), `logits` (N, K);
    `activations` and `gradients` by block `(N, C, H, W)`. Gradients are of each picture's likeliest class, and there only if a tally asks for them.
    """

    numbers: np.ndarray
    classes: np.ndarray
    inputs: Tensor
    logits: Tensor
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]

    @cached_property
    def pooled(self) -> dict[str, np.ndarray]:
        """The mean activation of every channel on every picture, by block `(N, C)` float64."""
        wide = torch.float32 if self.inputs.device.type == "mps" else torch.float64  # as much as the device has
        return {name: a.mean((2, 3), dtype=wide).cpu().double().numpy() for name, a in self.activations.items()}


class Gatherer(Protocol):
    """Sees the batches of one shard in their order, then tells its arrays; a shard without any picture has no arrays."""

    def add(self, seen: Seen) -> None:
        """One more batch."""

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was gathered."""


class Tally(Protocol):
    """One kind of thing that is gathered: `name` goes before its arrays' names; `gradients` says whether it needs a backward pass."""

    name: str
    gradients: bool

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""


@runtime_checkable
class Told(Protocol):
    """A tally with a setting that decides its result: `card` tells it in plain values, and a run that was cut goes on only with the same."""

    card: Mapping


def of_moments(name: str, found: Moments) -> dict[str, np.ndarray]:
    """Moments as arrays."""
    return {f"{name}/n": np.array(found.n), f"{name}/mean": found.mean.numpy(), f"{name}/comoment": found.comoment.numpy()}


def _tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor; a copy of one that may only be read, as files and other processes give them."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def to_moments(arrays: Arrays, name: str) -> Moments:
    """The moments that `of_moments` gave away."""
    return Moments(int(arrays[f"{name}/n"]), *(_tensor(arrays[f"{name}/{part}"]) for part in ("mean", "comoment")))


CROSS = ("mean_a", "mean_b", "comoment", "squares_a", "squares_b")


def of_cross(name: str, found: CrossMoments) -> dict[str, np.ndarray]:
    """Moments between two blocks as arrays."""
    return {f"{name}/n": np.array(found.n)} | {f"{name}/{part}": getattr(found, part).numpy() for part in CROSS}


def to_cross(arrays: Arrays, name: str) -> CrossMoments:
    """The moments that `of_cross` gave away."""
    return CrossMoments(int(arrays[f"{name}/n"]), *(_tensor(arrays[f"{name}/{part}"]) for part in CROSS))


class _Positions:
    def __init__(self, setting: Setting) -> None:
        self._blocks = {block.name: block.channels for block in setting.blocks}
        self._gathering = Gathering(self._blocks, setting.device)

    def add(self, seen: Seen) -> None:
        self._gathering.add(seen.activations)

    def arrays(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name in self._blocks:
            found |= of_moments(name, self._gathering.within(name))
        for a, b in pairwise(self._blocks):
            found |= of_cross(f"{a}-{b}", self._gathering.between(a, b))
        return found


class Positions:
    """Moments over all positions of all pictures: `<block>/{n,mean,comoment}`, and `<a>-<b>/...` between neighbouring blocks."""

    name = "positions"
    gradients = False

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""
        return _Positions(setting)

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""
        found: dict[str, np.ndarray] = {}
        for name in (key.removesuffix("/n") for key in a if key.endswith("/n")):
            if "-" in name:
                found |= of_cross(name, merge_cross(to_cross(a, name), to_cross(b, name)))
            else:
                found |= of_moments(name, merge(to_moments(a, name), to_moments(b, name)))
        return found


class _Pooled:
    """Mean activation of every channel on every picture of a shard; a shard is few enough pictures to keep them all."""

    def __init__(self, setting: Setting) -> None:
        self.blocks = [block.name for block in setting.blocks]
        self.classes = setting.classes
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in self.blocks}
        self._classes: list[np.ndarray] = []

    def add(self, seen: Seen) -> None:
        for name in self.blocks:
            self._rows[name].append(seen.pooled[name])
        self._classes.append(seen.classes)

    def rows(self, name: str) -> np.ndarray:
        return np.concatenate(self._rows[name])

    def labels(self) -> np.ndarray:
        return np.concatenate(self._classes)


class _Images(_Pooled):
    def arrays(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name in self.blocks:
            found |= of_moments(name, moments(torch.from_numpy(self.rows(name).T.copy())))
        return found


class Images:
    """Moments over pictures of each channel's mean activation: `<block>/{n,mean,comoment}`."""

    name = "images"
    gradients = False

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""
        return _Images(setting)

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""
        found: dict[str, np.ndarray] = {}
        for name in (key.removesuffix("/n") for key in a if key.endswith("/n")):
            found |= of_moments(name, merge(to_moments(a, name), to_moments(b, name)))
        return found


def by_class(rows: np.ndarray, classes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows `(N, C)`: how many each class has (K,), their mean (K, C), and the sum of squared deviations from it (K, C); zero for none."""
    n = np.bincount(classes, minlength=count)
    mean, squares = np.zeros((count, rows.shape[1])), np.zeros((count, rows.shape[1]))
    order = np.argsort(classes, kind="stable")
    present = np.flatnonzero(n)
    if len(present):
        starts = np.cumsum(n)[present] - n[present]
        mean[present] = np.add.reduceat(rows[order], starts) / n[present, None]
        squares[present] = np.add.reduceat((rows[order] - mean[classes[order]]) ** 2, starts)
    return n, mean, squares


class _Classes(_Pooled):
    def arrays(self) -> dict[str, np.ndarray]:
        labels = self.labels()
        known = labels >= 0
        found: dict[str, np.ndarray] = {}
        for name in self.blocks:
            found["n"], found[f"{name}/mean"], found[f"{name}/squares"] = by_class(self.rows(name)[known], labels[known], self.classes)
        return found


class Classes:
    """Moments over the pictures of each class of each channel's mean activation: `n` (K,), `<block>/{mean,squares}` (K, C)."""

    name = "classes"
    gradients = False

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""
        return _Classes(setting)

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""
        n = a["n"] + b["n"]
        share = (b["n"] / np.maximum(n, 1))[:, None]
        found = {"n": n}
        for name in (key.removesuffix("/mean") for key in a if key.endswith("/mean")):
            apart = b[f"{name}/mean"] - a[f"{name}/mean"]
            found[f"{name}/mean"] = a[f"{name}/mean"] + apart * share
            found[f"{name}/squares"] = a[f"{name}/squares"] + b[f"{name}/squares"] + apart**2 * (a["n"][:, None] * share)
        return found


LAGS = (1, 2)  # positions apart, Chebyshev distance: the ring that a 3x3 sees around a position, and the one that a 5x5 sees beyond it


def boxes(maps: Tensor) -> list[Tensor]:
    """Of maps `(N, C, H, W)`, for each of LAGS: at every position the sum of all that lies no further away; nothing lies outside a map."""
    found = []
    for reach in LAGS:
        tall = functional.avg_pool2d(maps, (2 * reach + 1, 1), 1, (reach, 0), divisor_override=1)
        found.append(functional.avg_pool2d(tall, (1, 2 * reach + 1), 1, (0, reach), divisor_override=1))
    return found


def _rings(within: list[Tensor]) -> Tensor:
    """From what lies no further away than 0 and each of LAGS to what lies exactly so far away: a row less."""
    return torch.stack([far - near for near, far in pairwise(within)])


AT_ONCE = 250_000  # values whose boxes stay in the processor's cache


def _products(maps: Tensor) -> Tensor:
    """The sums over positions of each channel's value times its rings, `(lags, C)`."""
    few = maps.split(max(1, AT_ONCE // maps[0].numel()))
    return torch.stack([_rings([(rows(part) * rows(box)).sum(0) for box in (part, *boxes(part))]) for part in few]).sum(0)


class _Lags:
    """Sums over pairs of positions, of activations less the first batch's mean: what is squared should be near zero."""

    def __init__(self, setting: Setting) -> None:
        self._blocks = [block.name for block in setting.blocks]
        self._shift: dict[str, Tensor] = {}
        self._sums: dict[tuple[str, str], np.ndarray] = {}

    def add(self, seen: Seen) -> None:
        for name in self._blocks:
            values = seen.activations[name].float()
            if name not in self._shift:
                self._shift[name] = values.mean((0, 2, 3))
            values = values - self._shift[name][:, None, None]
            one = torch.ones(1, 1, *values.shape[2:], device=values.device)
            pairs, last = _rings([one, *boxes(one)])[:, 0, 0], values.permute(0, 2, 3, 1)
            found = {
                "n": len(values) * pairs.sum((1, 2)),
                "sums": torch.einsum("lhw,hwc->lc", pairs, last.sum(0)),
                "product": _products(values),
                "squares": torch.einsum("lhw,hwc->lc", pairs, last.square().sum(0)),
            }
            for key, sums in found.items():
                wide = sums.cpu().double().numpy()
                self._sums[name, key] = self._sums[name, key] + wide if (name, key) in self._sums else wide

    def arrays(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name in self._blocks:
            n, sums, product, squares = (self._sums[name, key] for key in ("n", "sums", "product", "squares"))
            mean = sums / np.maximum(n, 1)[:, None]
            taken_out = n[:, None] * mean**2
            found[f"{name}/n"] = n.astype(np.int64)
            found[f"{name}/mean"] = mean + self._shift[name].cpu().double().numpy()
            found[f"{name}/product"], found[f"{name}/squares"] = product - taken_out, squares - taken_out
        return found


class Lags:
    """How each channel goes with itself at LAGS: pairs of positions `<block>/n` (2,), their mean `mean` (2, C), and about it `product` and `squares` (2, C)."""

    name = "lags"
    gradients = False

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""
        return _Lags(setting)

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""
        found: dict[str, np.ndarray] = {}
        for name in (key.removesuffix("/n") for key in a if key.endswith("/n")):
            n = a[f"{name}/n"] + b[f"{name}/n"]
            share = (b[f"{name}/n"] / np.maximum(n, 1))[:, None]
            apart = b[f"{name}/mean"] - a[f"{name}/mean"]
            found[f"{name}/n"], found[f"{name}/mean"] = n, a[f"{name}/mean"] + apart * share
            for kind in ("product", "squares"):
                found[f"{name}/{kind}"] = a[f"{name}/{kind}"] + b[f"{name}/{kind}"] + apart**2 * (a[f"{name}/n"][:, None] * share)
        return found


STANDARD: tuple[Tally, ...] = (Positions(), Images(), Classes(), Lags())


def merged(tallies: Sequence[Tally], a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
    """The arrays of all tallies, `<tally>/<array>`, over two neighbouring stretches of the corpus; of none, the other's."""
    if not a or not b:
        return dict(a or b)
    found: dict[str, np.ndarray] = {}
    for tally in tallies:
        prefix = f"{tally.name}/"
        mine = ({k.removeprefix(prefix): v for k, v in part.items() if k.startswith(prefix)} for part in (a, b))
        found |= {prefix + key: value for key, value in tally.merge(*mine).items()}
    return found
