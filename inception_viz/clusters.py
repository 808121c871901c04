"""Groups of channels that fire together, found in a similarity matrix.

The number of clusters is chosen by modularity (louvain) or silhouette (average linkage) unless the person gives one: on photographs the
silhouette of average linkage often prefers two. A cluster is found in the same data that shows it to be correlated:
whether it is more than chance is another question, asked in `nulls`.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import networkx as nx
import numpy as np
import torch
from scipy import sparse
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from inception_viz.architecture import Block
from inception_viz.communities import communities, graph_of
from inception_viz.correlations import Correlation, image_level
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.text import message

MOST = 24  # clusters that the silhouette is tried for
NEIGHBOURS = 10
SEED = 0
RESOLUTIONS = np.geomspace(0.05, 20, 24).tolist()  # that louvain is tried at for a wished number of clusters
CHOSEN, SILHOUETTE, MODULARITY = message("chosen"), message("best silhouette"), message("best modularity")


class TooManyClusters(VisitorError):
    """More clusters than live channels."""

    words = message("{found} clusters cannot be made of {allowed} channels that are not constant.")


@dataclass(frozen=True, eq=False)
class Clusters:
    """Labels `(C,)` int, -1 for constant channels; cluster 0 is the largest, equally large ones stand by their first channel.

    `score` is the silhouette on 1 - r, from -1 to 1 (nan where it is undefined): how much closer channels are to their own cluster than to the
    next. `criterion` says how the number was chosen.
    """

    labels: np.ndarray
    definition: str
    method: str
    criterion: str
    score: float

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max(initial=-1)) + 1

    def members(self, cluster: int) -> np.ndarray:
        """The channels of a cluster, in order."""
        return np.flatnonzero(self.labels == cluster)

    @property
    def sizes(self) -> np.ndarray:
        """Channels in each cluster, `(count,)`."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.count)


def silhouette(distance: np.ndarray, labels: np.ndarray) -> float:
    """The mean silhouette of labels `(n,)` for distances `(n, n)` (Rousseeuw 1987); nan unless there are 2 to n - 1 clusters."""
    count = int(labels.max()) + 1
    if not 2 <= count <= len(labels) - 1:
        return float("nan")
    member = np.zeros((len(labels), count), dtype=distance.dtype)
    member[np.arange(len(labels)), labels] = 1
    sizes = member.sum(0)
    total = distance @ member  # (n, count): summed distance of each channel to each cluster
    own = sizes[labels]
    within = total[np.arange(len(labels)), labels] / np.maximum(own - 1, 1)
    mean = total / sizes
    mean[np.arange(len(labels)), labels] = np.inf
    nearest = mean.min(1)
    width = np.where(own > 1, (nearest - within) / np.maximum(np.maximum(nearest, within), np.finfo(distance.dtype).tiny), 0)
    return float(width.mean())


def _cuts(tree: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Labels `(joins + 1,)` for `most` clusters, for one less, and so on down to one: a tree is joined in the order of its joins.

    Not by height: equal channels join at equal heights, where a cut by height (scipy's `maxclust`) gives fewer clusters than wished.
    """
    size = len(tree) + 1
    groups = {channel: [channel] for channel in range(size)}
    for join, (a, b) in enumerate(tree[:, :2].astype(int).tolist()):
        if len(groups) <= most:
            yield _labels(groups.values(), size)
        groups[size + join] = groups.pop(a) + groups.pop(b)
    yield _labels(groups.values(), size)


def _labels(groups: Iterable[Collection[int]], size: int) -> np.ndarray:
    labels = np.empty(size, dtype=int)
    for label, channels in enumerate(groups):
        labels[list(channels)] = label
    return labels


def _average_linkage(r: np.ndarray, count: int | None) -> np.ndarray:
    distance = 1 - r
    tree = linkage(squareform(distance.astype(np.float64), checks=False), "average")
    if count is not None:
        return next(_cuts(tree, count))
    *tried, _ = _cuts(tree, min(MOST, len(r) - 1))
    return max(reversed(tried), key=lambda labels: silhouette(distance, labels))  # the fewest of equally good ones


def _neighbours(r: np.ndarray) -> sparse.csr_array:
    """The graph of each channel joined to the most similar ones with positive r, weighted by r: `(n, n)`, symmetric."""
    kept = np.clip(r.astype(np.float64), 0, None)
    np.fill_diagonal(kept, 0)
    few = min(NEIGHBOURS, len(r) - 1)
    least = np.partition(kept, -few, axis=1)[:, [-few]]
    chosen, equal = kept > least, kept == least
    chosen |= equal & (equal.cumsum(1) <= few - chosen.sum(1, keepdims=True))  # among equal ones the first
    return sparse.csr_array(np.where(chosen | chosen.T, kept, 0))


def _louvain(r: np.ndarray, count: int | None) -> np.ndarray:
    """Louvain visits channels in an order drawn by number: here by their mean r, so that renumbered channels get the same communities."""
    ranked = np.argsort(r.sum(1, dtype=np.float64), kind="stable")
    labels = np.empty(len(r), dtype=int)
    labels[ranked] = _ranked_louvain(r[np.ix_(ranked, ranked)], count)
    return labels


def _ranked_louvain(r: np.ndarray, count: int | None) -> np.ndarray:
    graph = graph_of(_neighbours(r))

    @cache
    def found(resolution: float) -> np.ndarray:
        return communities(graph, resolution, SEED)

    if count is None:
        return found(1.0)
    enough = bisect_left(RESOLUTIONS, count, key=lambda resolution: int(found(resolution).max()) + 1)
    finer = found(RESOLUTIONS[enough]) if enough < len(RESOLUTIONS) else np.arange(len(r))
    return _merged(r, finer, count)


def _merged(r: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Fewer clusters: the two with the highest mean r between them become one until `count` are left."""
    labels = labels.copy()
    member = np.eye(labels.max() + 1)[labels]  # (n, clusters)
    total, sizes = member.T @ r @ member, member.sum(0)
    while len(sizes) > count:
        mean = total / np.outer(sizes, sizes)
        np.fill_diagonal(mean, -np.inf)
        a, b = sorted(np.unravel_index(np.argmax(mean), mean.shape))
        labels[labels == b] = a
        labels[labels > b] -= 1
        total[a] += total[b]
        total[:, a] += total[:, b]
        sizes[a] += sizes[b]
        total, sizes = np.delete(np.delete(total, b, 0), b, 1), np.delete(sizes, b)
    return labels


@dataclass(frozen=True)
class Method:
    """How clusters are found, and by what their number is chosen when nobody gives it."""

    run: Callable[[np.ndarray, int | None], np.ndarray]
    criterion: str


METHODS: dict[str, Method] = {
    message("louvain"): Method(_louvain, MODULARITY),
    message("average linkage"): Method(_average_linkage, SILHOUETTE),
}
DEFAULT = "louvain"


def _numbered(labels: np.ndarray) -> np.ndarray:
    """The same partition, the largest cluster first, equally large ones by their first channel."""
    kinds, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(kinds), dtype=int)
    rank[np.lexsort((first, -sizes))] = np.arange(len(kinds))
    return rank[inverse]


def find(correlation: Correlation, method: str = DEFAULT, count: int | None = None, definition: str = "spatial") -> Clusters:
    """Clusters of the channels of a similarity matrix; deterministic. Raises UnknownChoice or TooManyClusters.

    Average linkage cuts the tree of 1 - r; louvain finds communities in the graph of each channel's ten nearest with r > 0, where a wished
    number is met by merging the communities of a finer resolution. Renumbered channels are clustered alike; among equal ones the first decides.
    """
    if method not in METHODS:
        raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(METHODS))
    live = np.flatnonzero(~correlation.constant)
    if count is not None and not 1 <= count <= len(live):
        raise TooManyClusters(found=count, allowed=len(live))
    labels = np.full(len(correlation.constant), -1)
    score = float("nan")
    if len(live):
        r = correlation.r[np.ix_(live, live)]
        one = count == 1 or (count is None and len(live) < 3)
        found = np.zeros(len(live), dtype=int) if one else METHODS[method].run(r, count)
        labels[live] = _numbered(found)
        score = silhouette(1 - r, labels[live])
    labels.setflags(write=False)
    return Clusters(labels, definition, method, METHODS[method].criterion if count is None else CHOSEN, score)


def mean_r(correlation: Correlation, clusters: Clusters) -> np.ndarray:
    """Mean similarity of the pairs inside each cluster, `(count,)`; nan for clusters of one channel.

    Clusters found in another similarity may hold channels that are constant in this one: their pairs are left out.
    """
    return np.array([mean_inside(correlation, clusters.members(cluster)) for cluster in range(clusters.count)])


def mean_inside(correlation: Correlation, members: np.ndarray) -> float:
    """Mean similarity of the pairs of these channels; nan if there is no pair. Constant channels are left out."""
    members = members[~correlation.constant[members]]
    if len(members) < 2:
        return float("nan")
    return float(correlation.r[np.ix_(members, members)][np.triu_indices(len(members), 1)].mean())


def inside(correlation: Correlation, clusters: Clusters) -> np.ndarray:
    """Similarity of every pair of channels of one cluster: `(pairs,)`; pairs with a constant channel are left out."""
    upper = np.triu_indices(len(clusters.labels), 1)
    same = (clusters.labels[upper[0]] == clusters.labels[upper[1]]) & (clusters.labels[upper[0]] >= 0)
    r = correlation.r[upper[0][same], upper[1][same]]
    return r[~np.isnan(r)]


def branch_table(clusters: Clusters, block: Block) -> np.ndarray:
    """Channels by cluster and branch, `(count, branches)` int."""
    table = np.zeros((clusters.count, len(block.branches)), dtype=int)
    live = clusters.labels >= 0
    np.add.at(table, (clusters.labels[live], block.branch_of[live]), 1)
    return table


def order(clusters: Clusters) -> np.ndarray:
    """An order of the channels for drawing, `(C,)`: cluster by cluster, constant channels last."""
    last = np.where(clusters.labels < 0, clusters.count, clusters.labels)
    return np.argsort(last, kind="stable")


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index of two labellings, over the channels that both label: 1 for equal ones, about 0 for chance."""
    both = (a >= 0) & (b >= 0)
    return float(adjusted_rand_score(a[both], b[both]))


def firing(pooled: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Mean activation of each cluster on each picture: pooled activations `(N, C)` become `(N, count)`."""
    means = [pooled[:, clusters.members(k)].mean(1) for k in range(clusters.count)]
    return np.stack(means, axis=1) if means else np.empty((len(pooled), 0), dtype=pooled.dtype)


def cofiring(activity: np.ndarray, threshold: float = 0.5) -> nx.Graph:
    """Which clusters fire together over pictures, from their activity `(N, count)`: edges where r exceeds the threshold. Raises TooFewPictures."""
    correlation = image_level(torch.from_numpy(np.ascontiguousarray(activity)))
    graph = nx.Graph()
    for cluster in range(activity.shape[1]):
        graph.add_node(cluster, mean=float(activity[:, cluster].mean()))
    rows, columns = np.nonzero(np.triu(np.nan_to_num(correlation.r) > threshold, 1))
    for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
        graph.add_edge(a, b, weight=float(correlation.r[a, b]))
    return graph
