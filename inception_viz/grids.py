"""Where the cells of a block's map lie on the picture: in the middles of what they were computed from, not where an even tiling would put them.

Strides without as much padding move them: a cell of GoogLeNet's last block lies 6.5 pixels further down and right than a tile of 32 would.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from inception_viz.architecture import Block


@dataclass(frozen=True)
class Grid:
    """Where the cells of a map lie on what a network sees: the middle of the first, in pixels from the edge, and the step to the next, both ways alike."""

    first: float
    step: float

    def at(self, cell: int) -> float:
        """The middle of a cell, in pixels."""
        return self.first + self.step * cell

    def on(self, side: int, of: int) -> "Grid":
        """The same cells on a picture of `side` pixels instead of `of`."""
        return Grid(self.first * side / of, self.step * side / of)


def tiles(cells: int, side: int) -> Grid:
    """Cells that divide a picture of `side` pixels evenly."""
    return Grid(side / cells / 2, side / cells)


def grid(block: Block, side: int) -> Grid:
    """Where a block's cells lie on a picture of `side` pixels: in the middles of their receptive fields; evenly, where those are unknown."""
    fields = [branch.field for branch in block.branches if branch.field]
    if not fields:
        return tiles(block.width, side)
    return Grid(float(np.mean([field.centre(0, 0) for field in fields])), float(fields[0].across))


def _weights(cells: int, side: int, grid: Grid) -> np.ndarray:
    """How much each cell counts at each pixel of a side, `(side, cells)`: bilinear, beyond the outermost middles their value."""
    place = np.clip((np.arange(side) + 0.5 - grid.first) / grid.step, 0, cells - 1)
    return np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, None).astype(np.float32)


def enlarged(values: np.ndarray, side: int, grid: Grid) -> np.ndarray:
    """A map `(H, W)` stretched bilinearly to `(side, side)` float32; a cell's value stands at its middle in `grid`."""
    rows, columns = (_weights(cells, side, grid) for cells in values.shape)
    return rows @ np.asarray(values, np.float32) @ columns.T


def covering(values: np.ndarray, side: int, grid: Grid) -> tuple[np.ndarray, Grid]:
    """A map `(H, W)` with its outermost cells repeated until it covers a picture of `side` pixels, and where its cells lie then.

    What `enlarged` does beyond the outermost middles, for whoever stretches the map himself: a browser gets a few cells, not all pixels.

    >>> cells, where = covering(np.array([[1.0, 2.0], [3.0, 4.0]]), 8, Grid(4, 4))
    >>> cells.tolist(), where
    ([[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 3.0, 4.0]], Grid(first=0, step=4))
    """
    before = max(0, ceil(grid.first / grid.step - 0.5))
    after = [max(0, ceil((side - grid.at(cells - 1)) / grid.step - 0.5)) for cells in values.shape]
    return np.pad(values, [(before, after[0]), (before, after[1])], "edge"), Grid(grid.at(-before), grid.step)
