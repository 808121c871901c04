"""One example as a picture: the patch that excites a channel or cluster, large, beside the whole view with the patch marked on it."""

import numpy as np
from PIL import Image

from inception_viz.examples import Example, pixels

SIDE, GAP, EDGE, RING = 192, 8, 3, 12
OUTLINE = (255, 176, 0)
DIMMED = 0.45  # of the brightness, outside the patch


def _fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture made as large as fits, in the middle of a clear square: `(side, side, 4)` uint8."""
    high, wide = picture.shape[:2]
    scale = side / max(high, wide)
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    square = np.zeros((side, side, 4), np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    filled = square[top : top + size[1], left : left + size[0]]
    filled[..., :3], filled[..., 3] = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)), 255
    return square


def _ringed(drawn: np.ndarray, centre: tuple[float, float]) -> None:
    """A ring around a place, for where the patch is all of the picture, its middle is all that tells one position from another."""
    side = len(drawn)
    middle = [min(max(share * side, RING), side - 1 - RING) for share in centre]
    rows, columns = np.ogrid[:side, :side]
    distance = np.hypot(rows - middle[0], columns - middle[1])
    drawn[np.abs(distance - RING + EDGE) < EDGE, :3] = 0
    drawn[np.abs(distance - RING + EDGE) < EDGE / 2, :3] = OUTLINE


def marked(example: Example, view: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The view with what lies outside the patch dimmed, the patch outlined and its middle ringed, `(side, side, 4)` uint8."""
    drawn = _fitted(view, side)
    top, bottom, left, right = pixels(example.box, side)
    outside, inner = np.ones((side, side), bool), np.zeros((side, side), bool)
    outside[top:bottom, left:right] = False
    inner[top + EDGE : bottom - EDGE, left + EDGE : right - EDGE] = True
    if outside.any():
        drawn[outside, :3] = (drawn[outside, :3] * DIMMED).astype(np.uint8)
        drawn[~outside & ~inner, :3] = OUTLINE
    else:
        _ringed(drawn, example.centre)
    return drawn


def tile(example: Example) -> np.ndarray | None:
    """The patch and the whole view with the patch marked, side by side on a clear ground: `(SIDE, 2 SIDE + GAP, 4)` uint8; None without a copy."""
    if example.view is None or example.patch is None or not example.patch.size:
        return None
    ground = np.zeros((SIDE, GAP, 4), np.uint8)
    return np.concatenate([_fitted(example.patch, SIDE), ground, marked(example, example.view)], axis=1)
