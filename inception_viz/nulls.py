"""What r would be by chance: maps that keep their own shape, laid over each other anywhere.

A map of an image is smooth, so its positions are no independent samples: two unrelated smooth maps correlate strongly by chance. The shift null
keeps each map's smoothness and breaks only the alignment: every circular shift of one map against the other is as likely as the real one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inception_viz.correlations import FLAT, Correlation, correlate

LEVEL = 0.05
ROWS = 64  # channels that are shifted against all others at a time, for memory


def shifted(activation: Tensor, seed: int) -> Correlation:
    """The correlation of maps `(C, H, W)` that were each shifted round by an offset of their own: one draw of the shift null."""
    generator = np.random.default_rng(seed)
    _, height, width = activation.shape
    rows, columns = generator.integers(0, height, len(activation)), generator.integers(0, width, len(activation))
    moved = [torch.roll(m, (int(dy), int(dx)), (0, 1)) for m, dy, dx in zip(activation, rows, columns, strict=True)]
    return correlate(torch.stack(moved))


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


@dataclass(frozen=True)
class AgainstChance:
    """How many pairs of a block are beyond chance: the share of `pairs` with p at most `level` under the shift null.

    By chance that share is about `level`, or less where there are too few shifts for so small a p (`smallest` is the smallest that can be).
    """

    share: float
    pairs: int
    level: float
    smallest: float


def against_chance(p: np.ndarray, positions: int, level: float = LEVEL) -> AgainstChance:
    """The share of pairs whose p `(C, C)` is at most `level`; nan where there are no live pairs."""
    values = p[np.triu_indices(len(p), 1)]
    values = values[~np.isnan(values)]
    share = float((values <= level).mean()) if len(values) else float("nan")
    return AgainstChance(share, len(values), level, 1 / positions)
