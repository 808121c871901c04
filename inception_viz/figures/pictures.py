"""Small pictures as bytes, for reports that need no script: a correlation matrix as PNG, a map over the picture as JPEG."""

import base64
import io

import numpy as np
from PIL import Image

from inception_viz.figures import colours
from inception_viz.grids import Grid, enlarged

SIDE = 240  # pixels that a matrix is averaged down to; below one pixel a channel nothing more can be seen
VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
QUALITY = 82


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def painted(values: np.ndarray, low: float, high: float, scale: list[str]) -> np.ndarray:
    """Values `(H, W)` as colours `(H, W, 3)` uint8, evenly along `scale` from `low` to `high`; what is not a number is grey.

    >>> painted(np.array([[0.0, 1.0]]), 0, 1, ["#000000", "#ffffff"]).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    places = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1), 0, 1)
    stops = np.linspace(0, 1, len(scale))
    channels = [np.interp(places, stops, [_rgb(c)[i] for c in scale]) for i in range(3)]
    colour = np.stack(channels, axis=-1).round().astype(np.uint8)
    colour[~np.isfinite(values)] = _rgb(colours.NEUTRAL)
    return colour


def _averaged(matrix: np.ndarray, side: int) -> np.ndarray:
    """A square matrix averaged down to at most `side` rows and columns; nan where nothing is known."""
    if len(matrix) <= side:
        return matrix
    edges = np.linspace(0, len(matrix), side + 1).astype(int)[:-1]
    known = ~np.isnan(matrix)
    total = np.add.reduceat(np.add.reduceat(np.where(known, matrix, 0), edges, 0), edges, 1)
    count = np.add.reduceat(np.add.reduceat(known.astype(np.float32), edges, 0), edges, 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def matrix(r: np.ndarray, order: np.ndarray) -> bytes:
    """A correlation matrix `(C, C)` with its channels in `order`, as PNG: blue -1, white 0, red 1, constant channels grey."""
    shown = painted(_averaged(r[np.ix_(order, order)], SIDE), -1, 1, [str(c) for _, c in colours.DIVERGING])
    image, out = Image.fromarray(shown), io.BytesIO()
    image.quantize(128).save(out, "PNG", optimize=True)
    return out.getvalue()


def photograph(view: np.ndarray) -> bytes:
    """A picture `(S, S, 3)` uint8 as JPEG."""
    out = io.BytesIO()
    Image.fromarray(view).save(out, "JPEG", quality=90)
    return out.getvalue()


def exact(view: np.ndarray) -> bytes:
    """A picture `(H, W, 3)` uint8 as PNG, every pixel as it is."""
    out = io.BytesIO()
    Image.fromarray(view).save(out, "PNG", compress_level=1)  # of a photograph, more saves little but takes three times as long
    return out.getvalue()


def link(view: np.ndarray) -> str:
    """A picture `(H, W, 3)` uint8 as an address that holds it whole, in colours that the eye can't tell from its own."""
    out = io.BytesIO()
    Image.fromarray(view).save(out, "JPEG", quality=93, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def overlay(view: np.ndarray, values: np.ndarray, cells: Grid, side: int = 112) -> bytes:
    """A map `(H, W)` from zero up, its `cells` where they lie, over the picture `(S, S, 3)`, as JPEG of `side` x `side` pixels."""
    top = float(values.max()) if values.size else 0.0
    colour = Image.fromarray(painted(enlarged(values, side, cells.on(side, len(view))), 0, top or 1, list(VIRIDIS)))
    ground = Image.fromarray(view).resize((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    Image.blend(ground, colour, 0.6).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
