"""Is a cluster real? Its p against a null, whether it survives resampling, and whether the branches specialise.

Clusters are found in the same similarities that they are then judged by, so a plain test of their mean r would call nearly every one significant. Here
the null is clustered too, in the same way, and the real clusters are held against the clusters found there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import hypergeom
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from inception_viz.activations import Tick, no_tick
from inception_viz.architecture import Block
from inception_viz.clusters import CHOSEN, Clusters, agreement, branch_table, find, mean_r
from inception_viz.correlations import PLAIN, Correlation, Measure, measure, transformed
from inception_viz.nulls import LEVEL, adjusted, permute, shift

DRAWS = 19  # of a null that is clustered: each gives many clusters
RESAMPLES = 20
SURVIVES = 0.5  # mean adjusted Rand index with its best match from which on a cluster counts as found again
PERMUTATIONS = 999


@dataclass(frozen=True, eq=False)
class ClusterTests:
    """Every cluster (k,) against the clusters of `draws` of a null: `sizes`, `mean_r`, the `expected` mean r at its size, `p`, and `q`.

    `chance_sizes` and `chance_r` (m,) are the clusters of all draws. What a cluster exceeds the expected mean r by, times the square root of its size (small
    ones scatter more), is ranked among theirs: p = (1 + null clusters that exceed it as far) / (1 + m); q is p adjusted over the clusters
    (Benjamini-Hochberg). nan for clusters of one channel. `first` is the first draw, and `first_clusters` are its own.
    """

    sizes: np.ndarray
    mean_r: np.ndarray
    expected: np.ndarray
    p: np.ndarray
    q: np.ndarray
    chance_sizes: np.ndarray
    chance_r: np.ndarray
    draws: int
    first: Correlation
    first_clusters: Clusters

    @property
    def real(self) -> np.ndarray:
        """Which clusters are tighter than chance allows, `(k,)` bool: q at most LEVEL."""
        return self.q <= LEVEL


def _again(found: Clusters, similar: Correlation) -> Clusters:
    """The clusters of another similarity, found as `found` was: as many, where their number was chosen."""
    live = int((~similar.constant).sum())
    count = min(found.count, live) or None if found.criterion == CHOSEN else None
    return find(similar, found.method, count, found.definition)


def _expected(sizes: np.ndarray, chance_sizes: np.ndarray, chance_r: np.ndarray) -> np.ndarray:
    """The mean r of a chance cluster of each of `sizes`: a line in the logarithm of the size, through the chance clusters."""
    if not len(chance_r):
        return np.full(len(sizes), np.nan)
    x = np.log(chance_sizes) - np.log(chance_sizes).mean()
    slope = (x @ chance_r) / (x @ x) if (x @ x) > 0 else 0.0
    return chance_r.mean() + slope * (np.log(sizes) - np.log(chance_sizes).mean())


def cluster_tests(found: Clusters, similar: Correlation, draws: Iterable[Correlation], tick: Tick = no_tick) -> ClusterTests:
    """Each cluster of `found` in `similar` against the clusters found in the same way in draws of a null. Raises ValueError if there is no draw."""
    drawn: list[tuple[Correlation, Clusters]] = []
    for draw in draws:
        tick()
        drawn.append((draw, _again(found, draw)))
    if not drawn:
        raise ValueError("a null needs at least one draw")
    chance_sizes = np.concatenate([null.sizes for _, null in drawn])
    chance_r = np.concatenate([mean_r(draw, null) for draw, null in drawn])
    pairs = ~np.isnan(chance_r)
    chance_sizes, chance_r = chance_sizes[pairs], chance_r[pairs]
    sizes, means = found.sizes, mean_r(similar, found)
    expected = _expected(sizes, chance_sizes, chance_r)
    excess = (means - expected) * np.sqrt(sizes)
    by_chance = (chance_r - _expected(chance_sizes, chance_sizes, chance_r)) * np.sqrt(chance_sizes)
    reached = (by_chance >= excess[:, None] - 1e-6).sum(1)
    p = np.where(np.isnan(excess), np.nan, (1 + reached) / (1 + len(by_chance)))
    return ClusterTests(sizes, means, expected, p, adjusted(p), chance_sizes, chance_r, len(drawn), *drawn[0])


@dataclass(frozen=True, eq=False)
class Stability:
    """How alike the clusters of resampled data are: `agreement` (resamples,), the adjusted Rand index with the real partition; `by_cluster` (k,).

    A cluster's own number is the mean, over resamples, of the adjusted Rand index of "in the cluster or not" with the cluster that matches it best.
    """

    agreement: np.ndarray
    by_cluster: np.ndarray

    @property
    def survives(self) -> np.ndarray:
        """Which clusters are found again, `(k,)` bool: at least SURVIVES."""
        return self.by_cluster >= SURVIVES


def resampled(activation: Tensor, seed: int) -> Tensor:
    """As many positions of `(C, H, W)`, drawn with replacement in square pieces; `(C, 1, H * W)`. Pictures `(N, C)`: as many pictures.

    Neighbouring positions are alike, and single ones drawn at random would pass for far more data than there is: pieces of about the square root of
    the side keep that (the moving block bootstrap; Kuensch 1989, Hall 1985 in the plane).
    """
    generator = np.random.default_rng(seed)
    if activation.ndim == 2:
        return activation[torch.from_numpy(generator.integers(0, len(activation), len(activation)))]
    _, height, width = activation.shape
    side = max(1, round(min(height, width) ** 0.5))
    pieces = -(-height * width // side**2)
    top = generator.integers(0, height - side + 1, pieces)[:, None, None] + np.arange(side)[:, None]
    left = generator.integers(0, width - side + 1, pieces)[:, None, None] + np.arange(side)
    return activation.flatten(1)[:, (top * width + left).reshape(-1)[: height * width]][:, None]


def _one_against_rest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The adjusted Rand index of every pair of clusters, each as "in it or not": `(clusters of a, clusters of b)` (Hubert & Arabie 1985)."""
    in_a, in_b = np.eye(a.max() + 1)[a], np.eye(b.max() + 1)[b]
    n, both = len(a), in_a.T @ in_b
    size_a, size_b = in_a.sum(0)[:, None], in_b.sum(0)
    cells = np.stack([both, size_a - both, size_b - both, n - size_a - size_b + both])

    def pairs(count: np.ndarray) -> np.ndarray:
        return count * (count - 1) / 2

    same_a, same_b = pairs(size_a) + pairs(n - size_a), pairs(size_b) + pairs(n - size_b)
    expected, most = same_a * same_b / pairs(np.array(n)), (same_a + same_b) / 2
    with np.errstate(invalid="ignore"):
        return np.where(most > expected, (pairs(cells).sum(0) - expected) / (most - expected), 1.0)


def stability(found: Clusters, values: Tensor, how: Measure, resamples: int = RESAMPLES, seed: int = 0, tick: Tick = no_tick) -> Stability:
    """Whether the clusters of `values`, (C, H, W) or pooled (N, C), are found again in its resamples (Hennig 2007, with the adjusted Rand index).

    The best of several matches lies above 0 even by chance: hold it against the same number of clusters in shifted maps.
    """
    whole, single = [], []
    for draw in range(resamples):
        tick()
        labels = _again(found, how(resampled(values, seed + draw))).labels
        known = (labels >= 0) & (found.labels >= 0)
        whole.append(agreement(found.labels, labels))
        best = np.zeros(found.count)
        if known.sum() > 1:
            match = _one_against_rest(found.labels[known], labels[known]).max(1)
            best[: len(match)] = match  # a cluster with no channel left is not found again
        single.append(np.where(np.bincount(found.labels[known], minlength=found.count) > 0, best, 0))
    return Stability(np.array(whole), np.mean(single, axis=0))


def chance_stability(
    found: Clusters,
    values: Tensor,
    definition: str = "spatial",
    transform: str = PLAIN,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tick: Tick = no_tick,
) -> Stability:
    """The stability that clusters found as `found` have in one draw of shifted maps (C, H, W), or for "image" of permuted pictures (N, C)."""
    ready, how = transformed(values, definition, transform), measure(definition)
    drawn = permute(ready, seed) if definition == "image" else shift(ready, seed)
    return stability(_again(found, how(drawn)), drawn, how, resamples, seed, tick)


@dataclass(frozen=True, eq=False)
class Specialisation:
    """Whether clusters keep to branches: `table` (clusters, branches) of channels; `information`, adjusted mutual information (0 by chance, 1 at most).

    `p` is that of the information when the channels' branches are permuted `permutations` times; `cells_p` and `cells_q` (clusters,
    branches) say how likely so many or more channels of one branch in one cluster are by chance (hypergeometric tail), plain and adjusted over the
    cells (Benjamini-Hochberg).
    """

    table: np.ndarray
    information: float
    p: float
    cells_p: np.ndarray
    cells_q: np.ndarray
    permutations: int


def _information(labels: np.ndarray, branches: np.ndarray) -> float:
    """Mutual information in nats; under permutation all else in the adjusted one stays the same."""
    joint = np.bincount(labels * (branches.max() + 1) + branches) / len(labels)
    joint = joint[joint > 0]
    return float((joint * np.log(joint)).sum())  # less the entropies' part, which is constant


def tail(table: np.ndarray) -> np.ndarray:
    """The chance of so many or more in each cell of a table of counts, its margins given (hypergeometric), of the same shape."""
    rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    return hypergeom.sf(table - 1, table.sum(), columns, rows)


def specialisation(found: Clusters, block: Block, permutations: int = PERMUTATIONS, seed: int = 0) -> Specialisation:
    """Whether the clusters keep to the block's branches; constant channels are left out."""
    live = found.labels >= 0
    labels, branches = found.labels[live], block.branch_of[live]
    table = branch_table(found, block)
    if not len(labels):
        nothing = np.full(table.shape, np.nan)
        return Specialisation(table, float("nan"), float("nan"), nothing, nothing, 0)
    generator = np.random.default_rng(seed)
    real = _information(labels, branches)
    reached = sum(_information(labels, generator.permutation(branches)) >= real - 1e-12 for _ in range(permutations))
    cells = tail(table)
    return Specialisation(
        table, float(adjusted_mutual_info_score(labels, branches)), (1 + reached) / (1 + permutations), cells, adjusted(cells), permutations
    )
