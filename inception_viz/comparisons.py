"""Two answers side by side: two pictures, two classes, two networks, or two states of one network; what is alike, and by how much the numbers differ.

Channel j of one network is another unit than channel j of another: numbers channel by channel, and clusters, are compared only where both sides have
the same units. What any two networks share is the picture: `places` asks whether both find the same places of it alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import ks_2samp
from torch import Tensor
from torch.nn import functional

from inception_viz import models
from inception_viz.analysis import Analysis, ModelFacts
from inception_viz.clusters import Clusters, agreement
from inception_viz.correlations import Correlation
from inception_viz.text import message

DRAWS = 199
SEED = 0
FINEST = 14  # places a side that two networks are compared on
STRONG = 0.5
KINDS = {  # what is compared -> what is chosen for each side
    message("two pictures"): ("picture",),
    message("two classes"): ("target",),
    message("two networks"): ("network",),
    message("two states of training"): ("checkpoint",),
    message("anything"): ("picture", "network", "target"),
}


def same_units(a: ModelFacts, b: ModelFacts) -> bool:
    """Whether channel j is the same unit on both sides: the same weights, or two checkpoints of the boxed network's one training."""
    of_one_run = {a.weights, b.weights} <= set(models.CHECKPOINTS)
    return a.architecture == b.architecture and (a.weights_sha256 == b.weights_sha256 or of_one_run)


def same_picture(a: Analysis, b: Analysis) -> bool:
    """Whether both look at one picture, and see the same part of it."""
    return a.picture.sha256 == b.picture.sha256


@dataclass(frozen=True)
class Against:
    """A number of agreement with its p (one-sided) from `draws` in which the sides were put together at random; nan where it is undefined."""

    value: float
    p: float
    draws: int


def _against(value: float, drawn: np.ndarray) -> Against:
    if not np.isfinite(value):
        return Against(float("nan"), float("nan"), len(drawn))
    return Against(value, float((1 + (drawn >= value - 1e-9).sum()) / (1 + len(drawn))), len(drawn))


def of_clusters(a: Clusters, b: Clusters, draws: int = DRAWS) -> Against:
    """The adjusted Rand index of two clusterings of the same channels, against shuffled labels; 1 if equal, about 0 by chance."""
    both = (a.labels >= 0) & (b.labels >= 0)
    if both.sum() < 2:
        return _against(float("nan"), np.zeros(draws))
    generator, one, other = np.random.default_rng(SEED), a.labels[both], b.labels[both]
    return _against(agreement(one, other), np.array([agreement(one, generator.permutation(other)) for _ in range(draws)]))


def matched(a: Clusters, b: Clusters) -> list[tuple[int, int, float]]:
    """Which cluster of `b` has most channels in common with which of `a`: (a, b, Jaccard), one to one, the best overall (Kuhn 1955)."""
    member_a, member_b = (np.stack([c.labels == k for k in range(c.count)]) if c.count else np.zeros((0, len(c.labels))) for c in (a, b))
    common = member_a.astype(int) @ member_b.T.astype(int)
    union = member_a.sum(1)[:, None] + member_b.sum(1)[None] - common
    jaccard = common / np.maximum(union, 1)
    rows, columns = linear_sum_assignment(jaccard, maximize=True)
    return [(int(i), int(j), float(jaccard[i, j])) for i, j in zip(rows, columns, strict=True)]


def of_pairs(a: Correlation, b: Correlation, draws: int = DRAWS) -> Against:
    """The correlation of both sides' r over all pairs of channels that are live on both, against renumbered channels (Mantel 1967)."""
    live = np.flatnonzero(~a.constant & ~b.constant)
    if len(live) < 3:
        return _against(float("nan"), np.zeros(draws))
    upper = np.triu_indices(len(live), 1)
    one, other = a.r[np.ix_(live, live)].astype(np.float64), b.r[np.ix_(live, live)].astype(np.float64)
    own = _standardised(one[upper])
    theirs = _standardised(other[upper])
    mean, deviation = other[upper].mean(), other[upper].std()
    generator = np.random.default_rng(SEED)
    drawn = []
    for _ in range(draws):
        order = generator.permutation(len(live))
        drawn.append(own @ (other[order[upper[0]], order[upper[1]]] - mean) / (deviation * len(own)) if deviation else np.nan)
    return _against(float(own @ theirs) / len(own), np.array(drawn))


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread else np.full(len(values), np.nan)


@dataclass(frozen=True)
class Strength:
    """How strongly the channels of a block fire together: `mean` |r|, the share of pairs with |r| above STRONG, how many `pairs`, over `n` positions."""

    mean: float
    strong: float
    pairs: int
    n: int


def strength(similar: Correlation) -> Strength:
    """Mean |r| and the share of strong pairs of a block; nan without live pairs."""
    r = np.abs(similar.pairs())
    known = len(r) > 0
    return Strength(float(r.mean()) if known else float("nan"), float((r > STRONG).mean()) if known else float("nan"), len(r), similar.n)


def apart(a: Correlation, b: Correlation) -> float:
    """How far two distributions of r lie apart, 0 to 1: the largest gap between their cumulated shares (Kolmogorov-Smirnov).

    No p: pairs that share a channel are not independent.
    """
    one, other = a.pairs(), b.pairs()
    return float(ks_2samp(one, other).statistic) if len(one) and len(other) else float("nan")


def _unbiased(k: Tensor, other: Tensor) -> Tensor:
    """The unbiased estimate of HSIC (Song et al. 2012, equation 5) for `(..., n, n)` similarities with empty diagonals."""
    n = k.shape[-1]
    trace = (k * other).sum((-1, -2))
    sums = k.sum((-1, -2)) * other.sum((-1, -2)) / ((n - 1) * (n - 2))
    cross = (k.sum(-1) * other.sum(-1)).sum(-1) * 2 / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def _similarities(activation: Tensor, side: int) -> Tensor:
    rows = functional.adaptive_avg_pool2d(activation.double(), side).flatten(1).T
    similar = rows @ rows.T
    return similar.fill_diagonal_(0)


def places(a: np.ndarray, b: np.ndarray) -> Against:
    """Whether two blocks `(C, H, W)` find the same places of one picture alike: debiased linear CKA (Kornblith et al. 2019), 1 at most, about 0 by chance.

    Both maps are averaged to the coarser one's size, at most FINEST a side. Debiased, because with more channels than places the plain one is near 1
    for anything. p is from all circular shifts of one picture's places against the other's; nan for maps of less than 2 x 2 places.
    """
    side = min(FINEST, *a.shape[1:], *b.shape[1:])
    if side < 2:
        return _against(float("nan"), np.zeros(0))
    one, other = (_similarities(torch.from_numpy(np.array(x)), side) for x in (a, b))
    scale = (_unbiased(one, one) * _unbiased(other, other)).clamp(min=0).sqrt()
    grid = torch.arange(side * side).view(side, side)
    drawn = []
    for dy in range(side):
        for dx in range(side):
            order = torch.roll(grid, (dy, dx), (0, 1)).flatten()
            drawn.append(float(_unbiased(one, other[order][:, order]) / scale) if scale else float("nan"))
    return _against(drawn[0], np.array(drawn[1:]))


def paired(a: Analysis, b: Analysis) -> list[tuple[str, str]]:
    """Blocks to hold against each other: of one name in one architecture, else each block of `a` with the one as deep in `b`."""
    ours, theirs = list(a.blocks), list(b.blocks)
    if a.model.architecture == b.model.architecture:
        return [(name, name) for name in ours if name in b.blocks]
    last = max(1, len(ours) - 1)
    return [(name, theirs[round(i * (len(theirs) - 1) / last)]) for i, name in enumerate(ours)]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _agreement(found: Against) -> dict[str, float | int | None]:
    return {"value": _number(found.value), "p": _number(found.p), "draws": found.draws}


def _block(a: Analysis, b: Analysis, names: tuple[str, str], clusters: tuple[Clusters, Clusters]) -> dict[str, object]:
    one, other = a.blocks[names[0]], b.blocks[names[1]]
    sides = []
    for block, own in zip((one, other), clusters, strict=True):
        strong = strength(block.correlation)
        sides.append({
            "block": block.block.name, "mean_abs_r": _number(strong.mean), "strong_pairs": _number(strong.strong), "pairs": strong.pairs, "n": strong.n,
            "clusters": own.count, "attribution": block.attribution.by_cluster(own.labels).tolist(),
            "attribution_by_branch": block.attribution.by_branch(block.block).tolist(),
        })  # fmt: skip
    told: dict[str, object] = {"a": sides[0], "b": sides[1], "gap_of_distributions": _number(apart(one.correlation, other.correlation))}
    if same_units(a.model, b.model):
        told["agreement_of_pairs"] = _agreement(of_pairs(one.correlation, other.correlation))
        told["agreement_of_clusters"] = _agreement(of_clusters(*clusters))
        told["matched_clusters"] = [{"a": i, "b": j, "jaccard": share} for i, j, share in matched(*clusters)]
        told["attribution_b_by_clusters_of_a"] = other.attribution.by_cluster(clusters[0].labels).tolist()
    if same_picture(a, b):
        told["same_places"] = _agreement(places(one.activation, other.activation))
    return told


def summary(a: Analysis, b: Analysis, clusters: tuple[Mapping[str, Clusters], Mapping[str, Clusters]]) -> dict[str, object]:
    """Both sides and their blocks beside each other, as plain numbers: what two sides do not share is not compared, and so is not there."""
    names = paired(a, b)
    return {
        "a": _side(a),
        "b": _side(b),
        "same_channels": same_units(a.model, b.model),
        "same_picture": same_picture(a, b),
        "blocks": [_block(a, b, pair, (clusters[0][pair[0]], clusters[1][pair[1]])) for pair in names],
    }


def _side(one: Analysis) -> dict[str, object]:
    target = one.target
    against = 0.0 if target.against is None else float(one.logits[target.against])
    return {
        "picture": vars(one.picture).copy(), "model": one.model.architecture, "weights": one.model.weights, "weights_sha256": one.model.weights_sha256,
        "target": target.index, "target_name": one.class_names["en"][target.index], "target_logits": float(one.logits[target.index]) - against,
    }  # fmt: skip
