"""Maps of channels: many as tiles, one over the picture."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.architecture import Block
from inception_viz.figures import colours, panels, remembered
from inception_viz.figures.panels import Panel
from inception_viz.grids import Grid
from inception_viz.text import Text

COLUMNS = 8
GAP = 1


def _tile_places(count: int, columns: int, height: int, width: int) -> list[tuple[int, int]]:
    return [(index // columns * (height + GAP), index % columns * (width + GAP)) for index in range(count)]


@remembered
def tiles(activation: np.ndarray, block: Block, channels: Sequence[int], text: Text) -> go.Figure:
    """The maps of `channels` of an activation `(C, H, W)`, framed in their branch's colour, all on one scale from zero."""
    _, height, width = activation.shape
    columns = min(COLUMNS, max(1, len(channels)))
    rows = -(-len(channels) // columns)
    mosaic = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), np.nan, np.float32)
    frames, names = [], []
    for channel, (top, left) in zip(channels, _tile_places(len(channels), columns, height, width), strict=True):
        mosaic[top : top + height, left : left + width] = activation[channel]
        colour = colours.branch(block.branches[block.branch_of[channel]].name)
        x, y = left - 0.5, top - 0.5
        frames.append({"type": "rect", "x0": x, "x1": x + width, "y0": y, "y1": y + height, "line": {"color": colour, "width": 2}})
        names.append({
            "x": x, "y": y, "text": str(channel), "showarrow": False, "xanchor": "left", "yanchor": "top", "bgcolor": colour, "borderpad": 1,
            "font": {"size": 11, "color": "white"},
        })  # fmt: skip
    heat = {
        "type": "heatmap", "z": mosaic, "colorscale": colours.SEQUENTIAL, "zmin": 0, "hovertemplate": "%{z:.3g}<extra></extra>",
        "colorbar": {"title": {"text": text("activation")}, "thickness": 12}, "hoverongaps": False,
    }  # fmt: skip
    layout = colours.manner(60 + 100 * rows) | {
        "shapes": frames, "annotations": names, "xaxis": {"visible": False}, "yaxis": {"visible": False, "autorange": "reversed", "scaleanchor": "x"},
    }  # fmt: skip
    return go.Figure({"data": [heat], "layout": layout}, _validate=False)  # as in `panels`: 30 ms more to check; the tests do


@remembered
def overlay(
    view: np.ndarray, values: np.ndarray, cells: Grid, title: str, text: Text, signed: bool = False, height: int = 380
) -> go.Figure:
    """A map `(H, W)` laid over what the network saw, `(S, S, 3)`, its cells where they lie; they are stretched over the picture, not smoothed into it."""
    (picture, heat), x, y = panels.over(view, values, cells, signed, 0.6)
    shown = Panel([picture, {**heat, "colorbar": {"thickness": 12}}], "", x, {**y, "scaleanchor": "x"})
    return panels.figure([shown], [1], [1], (0, 0), height, title=title, right_to_left=text.direction == "rtl")
