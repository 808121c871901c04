"""Cells lie where the network looks, and maps are stretched over the picture with every cell at its place."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inception_viz import grids
from inception_viz.activations import Target, capture
from inception_viz.architecture import describe
from inception_viz.figures import activations, pictures
from inception_viz.grids import Grid
from inception_viz.models import Model
from inception_viz.text import Text
from tests.conftest import looking_at


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(-4, 20), st.floats(4, 12))
def test_stretching_is_numpys_interpolation_row_by_row_and_column_by_column(seed: int, first: float, step: float) -> None:
    values, grid = np.random.default_rng(seed).random((3, 5)), Grid(first, step)
    pixels = np.arange(40) + 0.5
    rows = np.stack([np.interp(pixels, first + step * np.arange(5), row) for row in values])
    slow = np.stack([np.interp(pixels, first + step * np.arange(3), column) for column in rows.T], 1)
    np.testing.assert_allclose(grids.enlarged(values, 40, grid), slow, atol=1e-5)


def test_even_tiles_are_stretched_as_pillow_does() -> None:
    values = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(values).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(grids.enlarged(values, 32, grids.tiles(4, 32)), theirs, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(-4, 30), st.floats(4, 12), st.integers(8, 60))
def test_repeated_outermost_cells_are_what_stretching_keeps_at_the_edges(seed: int, first: float, step: float, side: int) -> None:
    """What a browser draws between the middles of the cells that it is given is the map as it is stretched here, at every pixel."""
    values, pixels = np.random.default_rng(seed).random((3, 5)), np.arange(side) + 0.5
    shown, where = grids.covering(values, side, Grid(first, step))
    rows, columns = (where.first + where.step * np.arange(count) for count in shown.shape)
    assert where.first - step / 2 <= 1e-9
    assert min(rows[-1], columns[-1]) + step / 2 >= side - 1e-9
    across = np.stack([np.interp(pixels, columns, row) for row in shown])
    drawn = np.stack([np.interp(pixels, rows, column) for column in across.T], 1)
    np.testing.assert_allclose(drawn, grids.enlarged(values, side, Grid(first, step)), atol=1e-5)


def test_cells_lie_where_the_network_looks(googlenet: Model) -> None:
    """A small light moves the last block's answer most at the cell whose middle, in the grid, lies nearest: measured, not reckoned."""
    model = looking_at(googlenet, 256)
    block = describe(model).block("4a")
    cells = grids.grid(block, 256)
    ground = torch.zeros(1, 3, 256, 256)
    before = capture(model, ground, Target(0), gradients=False).activations["4a"][0]
    middles = []
    for pixel in range(112, 144, 4):
        lit = ground.clone()
        lit[..., pixel - 1 : pixel + 1, pixel - 1 : pixel + 1] = 1
        change = (capture(model, lit, Target(0), gradients=False).activations["4a"][0] - before).abs().sum((0, 2)).numpy()
        middles.append(cells.first + cells.step * (change @ np.arange(len(change))) / change.sum() - pixel)
    tile = grids.tiles(16, 256)
    assert cells.first - tile.first == 6.5
    assert abs(np.mean(middles)) < 3


@pytest.mark.parametrize("name", ["3a", "4e", "5b"])
def test_a_map_is_drawn_where_its_block_looks(googlenet: Model, name: str) -> None:
    """On a page and in a report: the one cell that fires is brightest in the middle of what it was computed from, not of an even tile."""
    block = describe(googlenet).block(name)
    cells = grids.grid(block, 128)
    count = int(128 / cells.step)
    cell = count // 2
    values = np.zeros((count, count), np.float32)
    values[cell, cell] = 1
    fields = [branch.field.centre(cell, cell) for branch in block.branches if branch.field]
    middle = np.mean(fields, 0)
    heat = activations.overlay(np.zeros((128, 128, 3), np.uint8), values, cells, "", Text("en")).data[1]
    row, column = np.argwhere(np.asarray(heat.z) == 1)[0]
    assert (heat.y0 + row * heat.dy + 0.5, heat.x0 + column * heat.dx + 0.5) == tuple(middle)
    small = np.asarray(Image.open(io.BytesIO(pictures.overlay(np.zeros((128, 128, 3), np.uint8), values, cells)))).sum(-1)
    bright = np.argwhere(small >= np.percentile(small, 99.5)).mean(0) + 0.5
    np.testing.assert_allclose(bright, middle * len(small) / 128, atol=1.5)
