"""What a trained network computes for nothing: weights near zero, and channels that are dead, constant or copies of others.

A channel counts as waste on the pictures that were looked at: on others it may wake up (`pruning` judges that). Copies are no proof of anything learnt:
an untrained network has them too.
"""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, nn

from inception_viz.activations import Tick, capture, no_tick
from inception_viz.architecture import Block, describe
from inception_viz.correlations import from_moments
from inception_viz.images import Picture
from inception_viz.measurement import Cell, Conditions, Finding, Outcome, within
from inception_viz.models import Model
from inception_viz.moments import Moments, merge, moments, samples
from inception_viz.text import Blank, message

SEED = 0
BATCH = 16
LOOKED_AT = 8  # views of each picture
SMALLEST_VIEW = 0.7  # of the picture's shorter side
SIMILAR = 0.95
THRESHOLD = 0.25
USED, DEAD, CONSTANT, COPY = range(4)
KINDS = {DEAD: message("dead"), CONSTANT: message("constant"), COPY: message("copies")}
SIMILARITY, SMALLNESS = message("The correlation from which channels are copies"), message("The threshold of weights")

CAPACITY = message("Most weights end up to be close to zero, so that much of the computation is wasted (the paper says: if they do).")
IDLE = message("A trained network wastes channels: more of them are dead, constant or copies of others than in an untrained one.")


@dataclass(frozen=True)
class LayerWeights:
    """One convolution or linear layer: how many weights, how many of them near zero, and the multiply-accumulates that those take."""

    name: str
    block: str | None
    branch: str | None
    weights: int
    near_zero: int
    macs: int
    macs_near_zero: int

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        return dict(vars(self))


def layers(model: Model) -> Iterator[tuple[str, dict, nn.Conv2d | nn.Linear]]:
    """Every convolution and linear layer with its node's name and facts."""
    for node, facts in describe(model).graph.nodes(data=True):
        if facts["operation"] in ("convolution", "linear"):
            yield node, facts, model.network.get_submodule(node)  # type: ignore[misc]


def is_near_zero(weight: Tensor, threshold: float) -> Tensor:
    """Which weights of a layer are smaller than `threshold` times their root mean square: bool, of the weight's shape."""
    return weight.abs() < threshold * weight.float().square().mean().sqrt()


def near_zero(model: Model, threshold: float = THRESHOLD) -> list[LayerWeights]:
    """Weights smaller than `threshold` times their layer's root mean square, layer by layer. Raises OutOfRange.

    A bell curve has some as well: `by_chance`.
    """
    within(SMALLNESS, threshold, 0, 3)
    found = []
    for name, facts, layer in layers(model):
        count, few = layer.weight.numel(), int(is_near_zero(layer.weight, threshold).sum())
        positions = facts["macs"] // count
        found.append(LayerWeights(name, facts["block"], facts["branch"], count, few, facts["macs"], few * positions))
    return found


EDGES = np.linspace(-3, 3, 121)  # of the histogram, in units of the layer's root mean square


def histogram(model: Model) -> np.ndarray:
    """The share of all weights in each bin between EDGES, every weight in units of its layer's root mean square: `(len(EDGES) - 1,)`."""
    counts = np.zeros(len(EDGES) - 1)
    total = 0
    for _, _, layer in layers(model):
        weight = layer.weight.float()
        counts += np.histogram((weight / weight.square().mean().sqrt()).cpu().numpy(), EDGES)[0]
        total += weight.numel()
    return counts / total


def bell() -> np.ndarray:
    """What `histogram` gives for normally distributed weights."""
    return np.diff(norm.cdf(EDGES))


def by_chance(threshold: float) -> float:
    """The share of normally distributed weights that are smaller than `threshold` times their root mean square.

    >>> round(by_chance(1.0), 3)
    0.683
    """
    return math.erf(threshold / math.sqrt(2))


def view(model: Model, picture: Picture, generator: np.random.Generator) -> Tensor:
    """A random part of a picture, perhaps mirrored, as the network wants it: `(1, 3, S, S)`."""
    height, width = picture.pixels.shape[:2]
    side = max(1, round(min(height, width) * generator.uniform(SMALLEST_VIEW, 1)))
    top, left = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
    part = picture.pixels[top : top + side, left : left + side]
    seen = model.weights.preprocessing.of_pixels(np.ascontiguousarray(part[:, ::-1] if generator.random() < 0.5 else part))
    return placed(model, seen)


def placed(model: Model, seen: np.ndarray) -> Tensor:
    """What the network sees, `(S, S, 3)` uint8, as its input on its device: `(1, 3, S, S)`."""
    return model.weights.preprocessing.normalised(seen).to(model.device, model.dtype)


def views(model: Model, pictures: Sequence[Picture], each: int, seed: int = SEED) -> Iterator[Tensor]:
    """`each` random views of every picture, in batches `(up to BATCH, 3, S, S)`; the same ones for the same seed."""
    generator = np.random.default_rng(seed)
    made = (view(model, picture, generator) for picture in pictures for _ in range(each))
    yield from batched(made)


def batched(inputs: Iterator[Tensor]) -> Iterator[Tensor]:
    """Inputs `(1, 3, S, S)` in batches of up to BATCH."""
    while batch := list(islice(inputs, BATCH)):
        yield torch.cat(batch).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Seen:
    """A block's channels over `n` positions of all views: `highest`, `mean` and `deviation` (C,), correlation `r` (C, C), and the effective rank.

    The rank is exp of the entropy of the covariance's eigenvalues (Roy & Vetterli 2007): how many directions the channels really use, from 1 to C.
    """

    block: Block
    n: int
    highest: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    r: np.ndarray
    rank: float


def effective_rank(covariance: np.ndarray) -> float:
    """exp of the entropy of the eigenvalues as shares; nan for a covariance of zeros.

    >>> effective_rank(np.eye(4)).round(6).item()
    4.0
    """
    values = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    if values.sum() <= 0:
        return math.nan
    shares = values[values > 0] / values.sum()
    return np.exp(-(shares * np.log(shares)).sum())


Looking = Generator[float, None, dict[str, Seen]]  # yields the share done, 0 to 1


def look(model: Model, pictures: Sequence[Picture], tick: Tick = no_tick) -> Looking:
    """Statistics of every block's channels over all positions of LOOKED_AT views of every picture; `tick` is called between steps."""
    sums: dict[str, Moments] = {}
    highest: dict[str, Tensor] = {}
    steps = -(-len(pictures) * LOOKED_AT // BATCH) + len(describe(model).blocks)
    for done, inputs in enumerate(views(model, pictures, LOOKED_AT)):
        for name, activation in capture(model, inputs, gradients=False).activations.items():
            tick()
            values = samples(activation)
            found, most = moments(values), values.amax(1)
            sums[name] = merge(sums[name], found) if name in sums else found
            highest[name] = torch.maximum(highest[name], most) if name in highest else most
        yield (done + 1) / steps
    seen = {}
    for left, block in enumerate(reversed(describe(model).blocks)):
        seen[block.name] = _seen(block, sums[block.name], highest[block.name])
        yield (steps - len(describe(model).blocks) + left + 1) / steps
    return dict(reversed(seen.items()))


def _seen(block: Block, found: Moments, highest: Tensor) -> Seen:
    covariance = (found.comoment / found.n).cpu().numpy()
    deviation = np.sqrt(covariance.diagonal())
    r = from_moments(found).r
    return Seen(block, found.n, highest.cpu().numpy(), found.mean.cpu().numpy(), deviation, r, float(effective_rank(covariance)))


@dataclass(frozen=True, eq=False)
class Waste:
    """What each channel of a block is, `kind` (C,) of USED, DEAD, CONSTANT, COPY, and what stands in for it: slope * channel `source` + `offset`, each (C,)."""

    block: Block
    kind: np.ndarray
    source: np.ndarray
    slope: np.ndarray
    offset: np.ndarray

    def count(self, kind: int) -> int:
        """How many channels are of a kind."""
        return int((self.kind == kind).sum())


def _sources(seen: Seen, live: np.ndarray, similar: float) -> np.ndarray:
    """For every channel the one that stands in for it, itself if none: the strongest come first, and copies only refer to what stays."""
    source = np.arange(len(seen.deviation))
    stays: list[int] = []
    for channel in live[np.argsort(-seen.deviation[live], kind="stable")]:
        r = np.abs(seen.r[channel, stays]) if stays else np.zeros(0)
        if len(r) and r.max() > similar:
            source[channel] = stays[int(r.argmax())]
        else:
            stays.append(int(channel))
    return source


def waste(seen: Seen, similar: float = SIMILAR) -> Waste:
    """Channels that never fire, that never change, and that are |r| > `similar` with a stronger one. Raises OutOfRange."""
    within(SIMILARITY, similar, 0.5, 1)
    flat = np.isnan(seen.r.diagonal())
    source = _sources(seen, np.flatnonzero(~flat), similar)
    copies = source != np.arange(len(source))
    kind = np.where(copies, COPY, np.where(flat & (seen.highest <= 0), DEAD, np.where(flat, CONSTANT, USED)))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(copies, seen.r[np.arange(len(source)), source] * seen.deviation / seen.deviation[source], np.where(flat, 0.0, 1.0))
    offset = np.where(copies | flat, seen.mean - slope * seen.mean[source], 0.0)
    return Waste(seen.block, kind, source, slope, offset)


def check(similar: float, threshold: float = THRESHOLD) -> None:
    """Raises OutOfRange for what can be neither: before any picture is looked at."""
    within(SIMILARITY, similar, 0.5, 1)
    within(SMALLNESS, threshold, 0, 3)


def all_waste(seen: Mapping[str, Seen], similar: float = SIMILAR) -> dict[str, Waste]:
    """`waste` of every block."""
    return {name: waste(one, similar) for name, one in seen.items()}


def at_random(seen: Seen, found: Waste, generator: np.random.Generator) -> Waste:
    """As many random channels of the block, each with its mean in its place: what removing channels does that nobody has looked at."""
    count = len(found.kind) - found.count(USED)
    gone = np.zeros(len(found.kind), bool)
    gone[generator.choice(len(gone), count, replace=False)] = True
    offset = np.where(gone, seen.mean, 0.0)
    return Waste(found.block, np.where(gone, CONSTANT, USED), np.arange(len(gone)), np.where(gone, 0.0, 1.0), offset)


def lazy(few: Sequence[LayerWeights], threshold: float, shares: np.ndarray, where: Conditions) -> Outcome:
    """Whether most weights are near zero; `shares` is the `histogram`, which goes into the table after the layers."""
    weights, near = sum(layer.weights for layer in few), sum(layer.near_zero for layer in few)
    macs = sum(layer.macs_near_zero for layer in few) / sum(layer.macs for layer in few)
    words = message(
        "{share} of {n} weights are near zero (a bell curve would have {chance}); they take {macs} of the multiply-accumulates."
    )
    facts: dict[str, Blank] = {
        "share": f"{near / weights:.1%}",
        "n": f"{weights:,}",
        "chance": f"{by_chance(threshold):.1%}",
        "macs": f"{macs:.1%}",
    }
    rows: list[dict[str, Cell]] = [
        {**layer.row(), "near_zero_bell_curve": by_chance(threshold) * layer.weights, "threshold": threshold} for layer in few
    ]
    rows += [
        {"from_rms": float(low), "to_rms": float(high), "share": float(share), "share_bell_curve": float(chance)}
        for low, high, share, chance in zip(EDGES[:-1], EDGES[1:], shares, bell(), strict=True)
    ]
    return Outcome((Finding(CAPACITY, words, near > weights / 2, facts),), tuple(row | where.row() for row in rows))


@dataclass(frozen=True, eq=False)
class Idle:
    """Statistics and waste of every block, of the network and of a twin of it that was never trained; from `similar` on a channel is a copy."""

    seen: Mapping[str, Seen]
    found: Mapping[str, Waste]
    twin_seen: Mapping[str, Seen]
    twin_found: Mapping[str, Waste]
    similar: float

    @classmethod
    def of(cls, seen: Mapping[str, Seen], twin_seen: Mapping[str, Seen], similar: float = SIMILAR) -> "Idle":
        """With the channels that are copies from `similar` on. Raises OutOfRange."""
        return cls(seen, all_waste(seen, similar), twin_seen, all_waste(twin_seen, similar), similar)


def idle(both: Idle, where: Conditions) -> Outcome:
    """Whether more channels are wasted than in an untrained twin."""
    found, chance = both.found, both.twin_found
    channels = sum(len(one.kind) for one in found.values())
    counts = {kind: sum(one.count(kind) for one in found.values()) for kind in KINDS}
    twins = {kind: sum(one.count(kind) for one in chance.values()) for kind in KINDS}
    words = message(
        "Of {n} channels {dead} are dead, {constant} constant and {copies} copies; in an untrained twin {twin_dead}, {twin_constant} and {twin_copies}."
    )
    facts: dict[str, Blank] = {
        "n": channels, "dead": counts[DEAD], "constant": counts[CONSTANT], "copies": counts[COPY],
        "twin_dead": twins[DEAD], "twin_constant": twins[CONSTANT], "twin_copies": twins[COPY],
    }  # fmt: skip
    rows = tuple(
        {
            "block": name, "channels": len(one.kind), "positions": both.seen[name].n, "dead": one.count(DEAD), "constant": one.count(CONSTANT),
            "copies": one.count(COPY), "copies_untrained": chance[name].count(COPY), "effective_rank": both.seen[name].rank,
            "dead_untrained": chance[name].count(DEAD), "constant_untrained": chance[name].count(CONSTANT),
            "effective_rank_untrained": both.twin_seen[name].rank, "similar": both.similar, **where.row(),
        }
        for name, one in found.items()
    )  # fmt: skip
    return Outcome((Finding(IDLE, words, sum(counts.values()) > sum(twins.values()), facts),), rows)
