"""One example as a picture: the patch that excites a channel or cluster, large, beside the whole view with the patch marked on it."""

import numpy as np
from PIL import Image

from inception_viz.examples import Example, pixels

SIDE, GAP, EDGE = 192, 8, 3
OUTLINE = (255, 176, 0)
DIMMED = 0.45  # of the brightness, outside the patch
Box = tuple[float, float, float, float]


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


def marked(view: np.ndarray, box: Box, side: int = SIDE) -> np.ndarray:
    """A view with what lies outside the box dimmed and the box outlined, `(side, side, 4)` uint8; the view alone where the box is all of it."""
    drawn = _fitted(view, side)
    top, bottom, left, right = pixels(box, side)
    if (top, bottom, left, right) == (0, side, 0, side):
        return drawn
    outside = np.ones((side, side), bool)
    outside[top:bottom, left:right] = False
    drawn[outside, :3] = (drawn[outside, :3] * DIMMED).astype(np.uint8)
    inner = np.zeros_like(outside)
    inner[top + EDGE : bottom - EDGE, left + EDGE : right - EDGE] = True
    drawn[~outside & ~inner, :3] = OUTLINE
    return drawn


def tile(view: np.ndarray, box: Box) -> np.ndarray:
    """The patch and the whole view with the patch marked, side by side on a clear ground: `(SIDE, 2 SIDE + GAP, 4)` uint8."""
    top, bottom, left, right = pixels(box, len(view))
    ground = np.zeros((SIDE, GAP, 4), np.uint8)
    return np.concatenate([_fitted(view[top:bottom, left:right], SIDE), ground, marked(view, box)], axis=1)


def drawn(example: Example) -> np.ndarray | None:
    """An example as a picture; None where no copy of its picture was kept."""
    return None if example.view is None else tile(example.view, example.box)
