"""From correlations to a block: what the paper's Section 3 asks for, read plainly, one measured number for each of the six widths.

The plain reading: clusters of channels that fire together become the units of the next layer; correlation that ends at a position asks for a 1x1
convolution, what reaches one position further for a 3x3, two for a 5x5. How far that carries, the trial says: see `trial`.
"""

import re
from dataclasses import dataclass
from itertools import groupby

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from inception_viz.architecture import Architecture, describe_network
from inception_viz.clusters import DEFAULT, Clusters, find
from inception_viz.correlations import Correlation, correlate, from_moments
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.images import shown_name
from inception_viz.models import random_network
from inception_viz.moments import Moments
from inception_viz.statistics import LagMoments, Statistics
from inception_viz.tables import Block, Table
from inception_viz.text import message

LAGS = (0, 1, 2)  # positions around a position that a 1x1, a 3x3 and a 5x5 convolution see
KERNELS = ("1x1", "3x3", "5x5")


class TooFewMacs(VisitorError):
    """A budget below a block of one channel a branch."""

    words = message("A block needs at least {allowed} multiply-accumulates here; the budget is {found}.")


def autocorrelation(maps: Tensor, lag: int) -> Tensor:
    """How alike maps `(N, K, H, W)` are to themselves `lag` positions away, over all directions (Chebyshev distance): `(K,)`; nan for constant ones.

    Pearson's r of all pairs of positions so far apart in all pictures; nan where the map is too small for the lag.
    """
    _, _, height, width = maps.shape
    centred = maps.double() - maps.double().mean((0, 2, 3), keepdim=True)
    products, firsts, seconds = (torch.zeros(maps.shape[1], dtype=torch.float64) for _ in range(3))
    for dy in range(-lag, lag + 1):
        for dx in range(-lag, lag + 1):
            if max(abs(dy), abs(dx)) != lag or abs(dy) >= height or abs(dx) >= width:
                continue
            a = centred[:, :, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            b = centred[:, :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
            products += (a * b).sum((0, 2, 3))
            firsts += a.square().sum((0, 2, 3))
            seconds += b.square().sum((0, 2, 3))
    return products / (firsts * seconds).sqrt()


@dataclass(frozen=True, eq=False)
class Reach:
    """How far the correlation of each cluster reaches: `r` (clusters, 3) at lags 0, 1 and 2, and of how many channels each consists."""

    r: np.ndarray
    sizes: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """What of each cluster a 1x1, 3x3 and 5x5 convolution has to cover, `(clusters, 3)`, each row summing to 1.

        What is lost at lag 1 is seen at a position alone; what is left at lag 1 but lost at lag 2 needs a 3x3; what is left at lag 2 a 5x5.
        """
        near, far = (np.clip(np.nan_to_num(self.r[:, lag]), 0, 1) for lag in (1, 2))
        far = np.minimum(near, far)
        return np.stack([1 - near, near - far, far], axis=1)

    @property
    def total(self) -> np.ndarray:
        """The shares of all channels together, `(3,)`."""
        weights = self.sizes / self.sizes.sum() if self.sizes.sum() else self.sizes
        return weights @ self.shares if len(self.sizes) else np.array([1.0, 0.0, 0.0])


def standardised(activation: Tensor) -> Tensor:
    """Activations `(N, C, H, W)` with mean 0 and deviation 1 in every channel; constant channels are 0."""
    values = activation.double()
    centred = values - values.mean((0, 2, 3), keepdim=True)
    deviation = centred.square().mean((0, 2, 3), keepdim=True).sqrt()
    return torch.where(deviation > 1e-9, centred / deviation.clamp(min=1e-9), 0)


def reach(activation: Tensor, clusters: Clusters) -> Reach:
    """How far correlation reaches inside each cluster of the channels of `(N, C, H, W)`.

    The mean r of all its pairs of channels at a lag, relative to lag 0, is the autocorrelation of the cluster's summed map: one pass, no C x C table.
    """
    values = standardised(activation)
    maps = [values[:, clusters.members(k)].sum(1) for k in range(clusters.count)]
    if not maps:
        return Reach(np.empty((0, 3)), np.empty(0, dtype=int))
    stacked = torch.stack(maps, dim=1)
    return Reach(torch.stack([autocorrelation(stacked, lag) for lag in LAGS], dim=1).numpy(), clusters.sizes)


def reach_over_corpus(moments: Moments, lags: LagMoments, clusters: Clusters) -> Reach:
    """How far correlation reaches inside each cluster over a whole corpus, from what was gathered of it.

    Each channel goes with itself, not with the others of its cluster: no pairs of channels are gathered at a distance. Exactly the mean over the
    cluster's channels, each with deviation 1, of what `autocorrelation` sums.
    """
    variance = moments.comoment.diagonal().numpy() / max(moments.n, 1)
    apart = (
        lags.n[:, None] * (lags.mean - moments.mean.numpy()) ** 2
    )  # pairs lie nearer to the middle than positions do: their mean is another
    r = np.full((clusters.count, len(LAGS)), np.nan)
    for cluster in range(clusters.count):
        own = clusters.members(cluster)
        product, squares = ((sums + apart)[:, own] / variance[own] for sums in (lags.product, lags.squares))
        with np.errstate(invalid="ignore", divide="ignore"):  # no pairs on maps smaller than the lag
            r[cluster] = [1.0, *(product.sum(1) / squares.sum(1))]
    return Reach(r, clusters.sizes)


class NoLags(VisitorError):
    """A file of statistics from before lags were gathered."""

    words = message("These statistics do not hold how far correlation reaches in space: gather them again with this version.")


def over_corpus(found: Statistics, block: str, method: str = DEFAULT, count: int | None = None) -> "Measured":
    """What the channels of a block ask of the next layer, from the statistics of a corpus. Raises NoLags, UnknownChoice or TooManyClusters."""
    if block not in (names := [b.name for b in found.blocks]):
        raise UnknownChoice(found=block, kind=message("block"), allowed=", ".join(names))
    moments, lags = found.positions(block), found.lags(block)
    if lags is None:
        raise NoLags()
    similar = from_moments(moments)
    groups = find(similar, method, count)
    return Measured(similar, groups, reach_over_corpus(moments, lags, groups), dimensions(similar))


class OtherNetwork(VisitorError):
    """Statistics of a network with other blocks than the one at hand."""

    words = message("These statistics are of “{found}” with other blocks than “{allowed}” has here. Choose that network first.")


def fits(found: Statistics, architecture: Architecture, name: str) -> None:
    """Raise OtherNetwork unless the statistics are of a network with the blocks of `architecture`, which is called `name`."""
    if [(b.name, b.channels) for b in found.blocks] != [(b.name, b.channels) for b in architecture.blocks]:
        raise OtherNetwork(found=shown_name(str(found.card["model"]["architecture"])), allowed=name)


def of_statistics(found: Statistics) -> Architecture:
    """The architecture that statistics are of, for pictures as large as they were gathered from. Raises UnknownChoice or OtherNetwork."""
    name = str(found.card["model"]["architecture"])
    architecture = describe_network(random_network(name, 2).eval(), int(found.card["transform"]["crop"]))
    fits(found, architecture, name)
    return architecture


def dimensions(correlation: Correlation) -> float:
    """How many independent channels say as much: the participation ratio of the eigenvalues, from 1 (all alike) to C; 0 if all are constant."""
    live = np.flatnonzero(~correlation.constant)
    if not len(live):
        return 0.0
    r = correlation.r[np.ix_(live, live)].astype(np.float64)
    return float(len(live) ** 2 / np.square(r).sum())  # (sum of eigenvalues) squared over the sum of their squares


@dataclass(frozen=True)
class Plan:
    """What the statistics ask for, before any budget; each can be overridden with `dataclasses.replace`.

    `shares` of the channels for 1x1, 3x3 and 5x5; `kept`, the share of the channels that a reduction keeps; `pool`, the pool projection's channels
    for each channel of the block's input; `groups` in which the 3x3 and 5x5 convolutions work (0: every channel is one).
    """

    inputs: int
    shares: tuple[float, float, float]
    kept: float
    pool: float
    groups: int = 1

    @property
    def block(self) -> Block:
        """The six widths, with as many channels as come in beside the pool projection's: only their proportions matter."""
        one, three, five = (self.inputs * share for share in self.shares)
        g = self.groups
        if not g:
            three, five = max(1, round(three)), max(1, round(five))
            return Block(max(1, round(one)), three, three, five, five, max(1, round(self.inputs * self.pool)), 0, 0)

        def whole(width: float) -> int:
            return max(1, round(width / g)) * g

        return Block(
            max(1, round(one)), whole(three * self.kept), whole(three), whole(five * self.kept), whole(five),
            max(1, round(self.inputs * self.pool)), g, g,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measured:
    """The steps from activations to a plan: how channels correlate, their clusters, how far these reach, and how many channels are independent."""

    correlation: Correlation
    clusters: Clusters
    reach: Reach
    dimensions: float

    @property
    def plan(self) -> Plan:
        """The plain reading of Section 3 for the next layer.

        A reduction keeps as many channels as there are independent ones. A maximum tells where a cluster fires and not how: one pool channel a cluster.
        """
        inputs = len(self.correlation.constant)
        one, three, five = self.reach.total.tolist()
        return Plan(inputs, (one, three, five), max(self.dimensions, 1) / inputs, max(self.clusters.count, 1) / inputs)


def measured(activation: Tensor, correlation: Correlation | None = None, method: str = DEFAULT, count: int | None = None) -> Measured:
    """What the channels of `activation` (N, C, H, W) ask of the next layer; `correlation` may come from more pictures than these.

    `method` and `count` as in `clusters.find`. Raises UnknownChoice or TooManyClusters.
    """
    similar = correlation or correlate(activation)
    found = find(similar, method, count)
    return Measured(similar, found, reach(activation, found), dimensions(similar))


def macs(block: Block, inputs: int, side: int) -> int:
    """Multiply-accumulates of a block on a map of `side` x `side`."""
    return block.weights(inputs) * side**2


def fitted(block: Block, inputs: int, side: int, budget: int) -> Block:
    """The block with all widths times one factor, so that it costs at most `budget` and one more channel in any width would cost more.

    Raises TooFewMacs.
    """
    low, high = 0.0, 1.0
    least = macs(block.scaled(low), inputs, side)
    if least > budget:
        raise TooFewMacs(found=f"{budget:,}", allowed=f"{least:,}")
    while macs(block.scaled(high), inputs, side) <= budget:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if macs(block.scaled(middle), inputs, side) <= budget else (low, middle)
    best = block.scaled(low)
    while better := next((b for b in best.wider() if macs(b, inputs, side) <= budget), None):
        best = better
    return best


def architects_own(architecture: Architecture, name: str) -> tuple[Block | None, int]:
    """The six widths of a block as it stands in the network, and its multiply-accumulates; None for a block of another kind (Inception v3's)."""
    found, graph = architecture.block(name), architecture.graph
    nodes = [(n, f) for n, f in graph.nodes(data=True) if f["block"] == name]
    total = sum(facts["macs"] for _, facts in nodes)
    if {b.name for b in found.branches} - {"1x1", "3x3", "5x5", "pool"}:
        return None, total
    widths: dict[str, list[int]] = {}
    groups: dict[str, int] = {}
    for node, facts in nodes:
        if facts["operation"] == "convolution":
            widths.setdefault(facts["branch"], []).append(facts["shape"][0])
            groups[facts["branch"]] = _groups(graph, node)
    one, three, five, pool = (widths.get(b, []) for b in ("1x1", "3x3", "5x5", "pool"))
    return Block(sum(one), *_pair(three), *_pair(five), sum(pool), groups.get("3x3", 1), groups.get("5x5", 1)), total


def _groups(graph: nx.DiGraph, node: str) -> int:
    """In how many groups a convolution works: as many times fewer multiply-accumulates than a plain one."""
    facts, (source,) = graph.nodes[node], graph.predecessors(node)
    (width, *sides), kernel = facts["shape"], facts["kernel"]
    return int(width * graph.nodes[source]["shape"][0] * np.prod(kernel) * np.prod(sides) // facts["macs"])


def _pair(widths: list[int]) -> tuple[int, int]:
    return (widths[0], widths[1]) if len(widths) == 2 else (0, sum(widths))


def in_place(architecture: Architecture, name: str, block: Block, classes: int) -> Table:
    """A network with `block` in the place of the block `name`, and the architects' own blocks around it where all have the six widths, else alone.

    A single convolution and a pooling stand for the stem: they give as many channels on as large a map.
    """
    own = {b.name: architects_own(architecture, b.name)[0] for b in architecture.blocks}
    rows = {n: block if n == name else row for n, row in own.items() if row}
    if len(rows) < len(own) or not all(re.fullmatch(r"\d[a-z]", n) for n in own):
        rows = {name: block}
    stages = tuple(tuple(row for _, row in stage) for _, stage in groupby(rows.items(), key=lambda item: item[0][0]))
    first = architecture.block(next(iter(rows)))
    reduced = round(architecture.input_side / first.height)  # how many pixels lie between two positions of the first block's map
    stem = architecture.graph.nodes[first.source]["shape"][0]
    return Table(stages, architecture.input_side, classes, stem, max(1, reduced // 2), stem_pool=reduced > 1)


def following(architecture: Architecture, name: str) -> str | None:
    """The block after the one of that name; None after the last. Raises UnknownChoice."""
    names = [block.name for block in architecture.blocks]
    place = names.index(architecture.block(name).name) + 1
    return names[place] if place < len(names) else None


def following_side(architecture: Architecture, name: str) -> int:
    """The side of the map that the following block works on; the block's own for the last."""
    after = following(architecture, name)
    return architecture.block(after or name).height


_CODE = '''"""An Inception block constructed from correlations: {inputs} channels in, {outputs} out, {macs} multiply-accumulates on a map of {side} x {side}."""

import torch
from torch import nn


def convolution(inputs, outputs, kernel, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Constructed(nn.Module):
    def __init__(self):
        super().__init__()
{branches}

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.children()], 1)
'''


def _branch(name: str, inputs: int, reduced: int, outputs: int, kernel: int, groups: int) -> str:
    shared = (groups or reduced or inputs) if kernel > 1 else 1
    last = f"convolution({reduced or inputs}, {outputs}, {kernel}{f', groups={shared}' if shared > 1 else ''})"
    return f"        self.{name} = " + (f"nn.Sequential(convolution({inputs}, {reduced}, 1), {last})" if reduced else last)


def code(block: Block, inputs: int, side: int) -> str:
    """The block as a PyTorch module in a file of its own, which needs nothing but torch."""
    b, lines = block, []
    if b.one:
        lines.append(_branch("branch1", inputs, 0, b.one, 1, 1))
    if b.three:
        lines.append(_branch("branch2", inputs, b.reduce_three, b.three, 3, b.groups_three))
    if b.five:
        lines.append(_branch("branch3", inputs, b.reduce_five, b.five, 5, b.groups_five))
    if b.pool:
        lines.append(f"        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution({inputs}, {b.pool}, 1))")
    return _CODE.format(inputs=inputs, outputs=b.outputs, macs=f"{macs(b, inputs, side):,}", side=side, branches="\n".join(lines))
