"""Slow twins: the same results from the definitions, one loop a sum."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


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


def _folded(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution with its batch norm in it: K' = K gamma / sqrt(var + eps)."""
    norm, scale = layer.bn, layer.bn.weight.double() / (layer.bn.running_var.double() + layer.bn.eps).sqrt()
    return layer.conv.weight.double() * scale[:, None, None, None], norm.bias.double() - norm.running_mean.double() * scale


def _passed(layer: nn.Module, parts: list[Tensor]) -> list[Tensor]:
    """What each part `(1, C, H, W)` gives to a convolution with batch norm and ReLU, by its share in the pre-activation; the biases are the last."""
    kernel, bias = _folded(layer)
    given = [functional.conv2d(p, kernel, padding=layer.conv.padding) for p in parts]
    given[-1] = given[-1] + bias[:, None, None]
    total = sum(given)
    share = [torch.where(total > 0, g / torch.where(total > 0, total, 1), 0) for g in given]
    return [s * functional.relu(total) for s in share]


def _winners(pool: nn.MaxPool2d, parts: list[Tensor]) -> list[Tensor]:
    """What each part has where all of them together are highest."""
    side = pool.kernel_size
    whole = functional.pad(sum(parts), [side // 2] * 4, value=-np.inf).unfold(2, side, 1).unfold(3, side, 1).flatten(4)
    place = whole.argmax(-1, keepdim=True)
    windows = [functional.pad(p, [side // 2] * 4).unfold(2, side, 1).unfold(3, side, 1).flatten(4) for p in parts]
    return [w.gather(-1, place)[..., 0] for w in windows]


def googlenet_flow(block: nn.Module, activation: Tensor, groups: np.ndarray) -> np.ndarray:
    """What each group of channels, and last the biases, give to each channel of one of GoogLeNet's blocks: `(groups + 1, C)` float64."""
    parts = [activation * torch.from_numpy(g)[:, None, None] for g in groups] + [torch.zeros_like(activation)]
    branches = []
    for branch in (block.branch1, block.branch2, block.branch3, block.branch4):
        now = parts
        for layer in branch if isinstance(branch, nn.Sequential) else [branch]:
            now = _winners(layer, now) if isinstance(layer, nn.MaxPool2d) else _passed(layer, now)
        branches.append(now)
    return np.stack([torch.cat(pieces, 1)[0].sum((1, 2)).numpy() for pieces in zip(*branches, strict=True)])


def best_matching(a: np.ndarray, b: np.ndarray) -> float:
    """The largest sum of Jaccard indices over all ways to match the groups of one labelling with those of another, one to one."""
    first, second = ([set(np.flatnonzero(x == k).tolist()) for k in range(x.max() + 1)] for x in (a, b))
    few, many = sorted((first, second), key=len)
    return max(sum(len(x & y) / len(x | y) for x, y in zip(few, chosen, strict=True)) for chosen in itertools.permutations(many, len(few)))


def _unbiased_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """Song et al. (2012): sums over all choices of two, three and four different points."""
    n = range(len(k))
    two = [k[i, j] * other[i, j] for i, j in itertools.permutations(n, 2)]
    three = [k[i, j] * other[i, q] for i, j, q in itertools.permutations(n, 3)]
    apart = k[:, :, None, None] * other[None, None]
    i, j, q, r = np.ogrid[: len(k), : len(k), : len(k), : len(k)]
    different = (i != j) & (i != q) & (i != r) & (j != q) & (j != r) & (q != r)
    return float(np.mean(two) + apart[different].mean() - 2 * np.mean(three))


def debiased_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear CKA over the places of two blocks `(C, H, W)`, each HSIC averaged over different places only."""
    first, second = (x.reshape(len(x), -1).T.astype(np.float64) for x in (a, b))
    k, other = first @ first.T, second @ second.T
    return _unbiased_hsic(k, other) / np.sqrt(_unbiased_hsic(k, k) * _unbiased_hsic(other, other))
