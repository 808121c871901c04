"""Boxes and maps over a whole picture, in the picture's own pixels; a person draws the true box on one of them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from inception_viz.boxes import Box
from inception_viz.figures import colours, pictures, remembered
from inception_viz.images import Picture
from inception_viz.localisation import CAM, CLUSTER, GRAD_CAM, Place
from inception_viz.text import Text

SIDE = 512  # pixels of the longer side that are sent
WIDE, NARROW = 480, 270  # pixels that a figure is about wide: its height follows from the picture's shape
LEAST, MOST = 150, 520  # pixels of height
LINES = {
    CAM: ("#e8590c", "solid", 6),
    GRAD_CAM: ("#4dabf7", "dash", 3),
    CLUSTER: ("#f06fd0", "dot", 3),
}  # told apart where they lie on each other
TRUE, SEEN, UNDER = "#12b886", "#adb5bd", "rgba(0,0,0,.65)"


def _ground(picture: Picture) -> go.Image:
    """The picture, small, over axes that count the pixels of the original: a JPEG, not numbers."""
    small = Image.fromarray(picture.pixels)
    small.thumbnail((SIDE, SIDE))
    dx, dy = picture.width / small.width, picture.height / small.height
    source = "data:image/jpeg;base64," + base64.b64encode(pictures.photograph(np.asarray(small))).decode()
    return go.Image(source=source, x0=dx / 2, dx=dx, y0=dy / 2, dy=dy, hoverinfo="skip")


@dataclass(frozen=True)
class _Line:
    """How a box is drawn, and its name in the legend, if it has one there."""

    box: Box
    colour: str
    dash: str
    name: str | None = None
    width: int = 3


def _outlines(figure: go.Figure, lines: Sequence[_Line]) -> None:
    """Boxes as lines, all over dark ones, so that they are seen on any picture and on each other."""
    for dark, line in product((True, False), lines):
        box = line.box
        x = [box.left, box.right, box.right, box.left, box.left]
        y = [box.top, box.top, box.bottom, box.bottom, box.top]
        style = {"color": UNDER, "width": line.width + 2} if dark else {"color": line.colour, "width": line.width, "dash": line.dash}
        named = line.name is not None and not dark
        figure.add_scatter(x=x, y=y, mode="lines", line=style, name=line.name if named else None, showlegend=named, hoverinfo="skip")


def _summit(figure: go.Figure, point: tuple[float, float], colour: str, width: int) -> None:
    marker = {"color": colour, "size": 8 + 2 * width, "symbol": "x", "line": {"color": "white", "width": 1.5}}
    figure.add_scatter(x=[point[0]], y=[point[1]], mode="markers", marker=marker, showlegend=False, hoverinfo="skip")


def _framed(figure: go.Figure, picture: Picture, wide: int, room: int, title: str, text: Text) -> go.Figure:
    height = room + min(max(round(wide * picture.height / picture.width), LEAST), MOST)
    figure.update_xaxes(visible=False, range=[0, picture.width], constrain="domain")
    figure.update_yaxes(visible=False, range=[picture.height, 0], scaleanchor="x", constrain="domain")
    return colours.plain(figure, height, title, text.direction == "rtl")


@remembered
def drawing(picture: Picture, seen: Box, places: Mapping[str, Place], true: Box | None, text: Text) -> go.Figure:
    """The whole picture with the square that the network sees, every method's box and summit, and the true box; a new one is drawn by dragging."""
    figure = go.Figure(_ground(picture))
    whole = seen.area >= picture.width * picture.height
    lines = [] if whole else [_Line(seen, SEEN, "dot", text("what the network sees"), 1)]
    for method, found in places.items():
        if found.box:
            colour, dash, width = LINES[method]
            lines.append(_Line(found.box, colour, dash, text(method), width))
    _outlines(figure, [*lines, *([_Line(true, TRUE, "solid", text("your box"), 4)] if true else [])])
    for method, found in places.items():
        if found.point:
            _summit(figure, found.point, LINES[method][0], LINES[method][2])
    figure.update_layout(dragmode="select", newselection={"line": {"color": TRUE, "width": 3}})
    framed = _framed(figure, picture, WIDE, 100, "", text)
    return framed.update_layout(margin={"t": 36, "b": 64}, legend={"y": -0.02, "yanchor": "top"})


@remembered
def over(picture: Picture, seen: Box, values: np.ndarray, method: str, found: Place, true: Box | None, title: str, text: Text) -> go.Figure:
    """A map, stretched to `(S, S)` over the square that the network sees, its box and summit, and the true box."""
    figure = go.Figure(_ground(picture))
    across, down = (seen.right - seen.left) / values.shape[1], (seen.bottom - seen.top) / values.shape[0]
    figure.add_heatmap(
        z=np.maximum(values, 0).astype(np.float32), x0=seen.left + across / 2, dx=across, y0=seen.top + down / 2, dy=down, opacity=0.6,
        colorscale=colours.SEQUENTIAL, zmin=0, zmax=float(values.max()) if values.max() > 0 else 1.0, showscale=False, hoverinfo="skip",
    )  # fmt: skip
    colour, dash, width = LINES[method]
    own = [_Line(found.box, colour, dash)] if found.box else []
    _outlines(figure, [*own, *([_Line(true, TRUE, "solid", width=2)] if true else [])])
    if found.point:
        _summit(figure, found.point, colour, width)
    return _framed(figure, picture, NARROW, 56, title, text)
