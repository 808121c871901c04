"""Slow twins: the same results from the definitions, one loop a sum."""

import itertools

import numpy as np


def pearson(values: np.ndarray) -> np.ndarray:
    """r of every pair of rows `(C, n)`, nan where a row is constant."""
    count = len(values)
    r = np.full((count, count), np.nan)
    for i, j in itertools.product(range(count), repeat=2):
        a, b = values[i] - values[i].mean(), values[j] - values[j].mean()
        scale = np.sqrt((a * a).sum() * (b * b).sum())
        if scale > 0:
            r[i, j] = (a * b).sum() / scale
    return r


def jaccard(values: np.ndarray, share: float) -> np.ndarray:
    """Common over all of the positions where rows `(C, n)` are highest; ties with the last one count, the lowest value never does."""
    fires = []
    for row in values:
        keep = max(1, round(share * len(row)))
        threshold = sorted(row)[-keep]
        fires.append({p for p, v in enumerate(row) if v >= threshold and v > row.min()})
    result = np.full((len(values),) * 2, np.nan)
    for i, j in itertools.product(range(len(values)), repeat=2):
        if fires[i] and fires[j]:
            result[i, j] = len(fires[i] & fires[j]) / len(fires[i] | fires[j])
    return result


def coarser(channel: np.ndarray, side: int) -> np.ndarray:
    """One map averaged on a grid of `side` x `side`: each cell over all pixels that it touches."""
    size = len(channel)
    reach = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array([[channel[top:bottom, left:right].mean() for left, right in reach] for top, bottom in reach])


def average_linkage(distance: np.ndarray, count: int) -> set[frozenset[int]]:
    """Join the two groups with the smallest mean distance until `count` are left."""
    groups = [frozenset([i]) for i in range(len(distance))]
    while len(groups) > count:
        a, b = min(itertools.combinations(groups, 2), key=lambda pair: np.mean([distance[i, j] for i in pair[0] for j in pair[1]]))
        groups = [g for g in groups if g not in (a, b)] + [a | b]
    return set(groups)


def shift_p(maps: np.ndarray) -> np.ndarray:
    """The share of all shifts of all pairs of maps `(C, H, W)` whose |r|, over the pair's root mean square of r, reaches that of a pair not shifted."""
    count, height, width = maps.shape
    ratios = {}
    for i, j in itertools.product(range(count), repeat=2):
        if i == j or np.ptp(maps[i]) == 0 or np.ptp(maps[j]) == 0:
            continue
        r = [
            abs(np.corrcoef(maps[i].ravel(), np.roll(maps[j], (dy, dx), (0, 1)).ravel())[0, 1])
            for dy, dx in itertools.product(range(height), range(width))
        ]
        ratios[i, j] = np.array(r) / np.sqrt(np.mean(np.square(r)))
    pooled, p = np.concatenate(list(ratios.values())), np.full((count, count), np.nan)
    for pair, values in ratios.items():
        p[pair] = np.mean(pooled >= values[0] - 1e-5)
    return p
