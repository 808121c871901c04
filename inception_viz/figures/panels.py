"""Several small plots in one figure.

`plotly.subplots` checks every property of every axis each time one is set: 160 ms for eight panels, on a page that thirty people open at once. Here
the axes are written down at once and not checked (5 ms); the tests check the figures that come of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from inception_viz.figures import colours, pictures
from inception_viz.grids import Grid, covering

TITLE = 16
Piece = Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """A plot: its traces as plotly's JSON has them, its title, and what its axes are like."""

    traces: Sequence[Piece]
    title: str = ""
    x: Piece = field(default_factory=dict)
    y: Piece = field(default_factory=dict)
    font: Piece = field(default_factory=dict)


def ground(view: np.ndarray) -> Piece:
    """A picture `(S, S, 3)` as a trace. As numbers the browser would paint it pixel by pixel: half a second for eight of them."""
    return {"type": "image", "source": pictures.link(view), "zsmooth": "fast", "hoverinfo": "skip"}


def over(view: np.ndarray, values: np.ndarray, cells: Grid, signed: bool, opacity: float) -> tuple[list[Piece], Piece, Piece]:
    """A map `(H, W)` over what the network saw, `(S, S, 3)`, every cell at its middle in `cells`: the traces, and both axes.

    Between the middles the browser goes from value to value; beyond the outermost ones it keeps theirs.
    """
    side, top = len(view), float(np.abs(values).max()) or 1.0
    shown, where = covering(values.astype(np.float32), side, cells)
    heat = {
        "type": "heatmap", "z": shown, "x0": where.first - 0.5, "dx": where.step, "y0": where.first - 0.5, "dy": where.step, "opacity": opacity,
        "zsmooth": "fast", "colorscale": colours.DIVERGING if signed else colours.SEQUENTIAL, "zmin": -top if signed else 0, "zmax": top,
        "hovertemplate": "%{z:.3g}<extra></extra>",
    }  # fmt: skip
    return [ground(view), heat], {"visible": False, "range": [-0.5, side - 0.5]}, {"visible": False, "range": [side - 0.5, -0.5]}


def _spans(shares: Sequence[float], gap: float) -> list[tuple[float, float]]:
    """Where pieces with these shares begin and end between 0 and 1, with a gap between any two."""
    room, whole, start, spans = 1 - gap * (len(shares) - 1), sum(shares), 0.0, []
    for share in shares:
        end = start + room * share / whole
        spans.append((start, end))
        start = end + gap
    return spans


def _places(
    columns: Sequence[float], rows: Sequence[float], gaps: tuple[float, float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Domains of all panels, row by row from the top."""
    across = _spans(columns, gaps[0])
    for low, high in _spans(rows, gaps[1]):
        for span in across:
            yield span, (1 - high, 1 - low)


def figure(
    panels: Sequence[Panel | None], columns: Sequence[float], rows: Sequence[float], gaps: tuple[float, float], height: int, **manner: Any
) -> go.Figure:
    """Panels row by row (None: an empty place) in columns and rows of these shares; `gaps` are parts of the figure; `manner` as `colours.plain` takes."""
    data: list[Piece] = []
    titles: list[Piece] = []
    layout: dict[str, Any] = colours.manner(height, **manner)
    for index, (panel, (across, up)) in enumerate(zip(panels, _places(columns, rows, gaps), strict=True)):
        if panel is None:
            continue
        number = str(index + 1) if index else ""
        layout[f"xaxis{number}"] = {"domain": list(across), "anchor": f"y{number}"} | dict(panel.x)
        layout[f"yaxis{number}"] = {"domain": list(up), "anchor": f"x{number}"} | dict(panel.y)
        data += [{**trace, "xaxis": f"x{number}", "yaxis": f"y{number}"} for trace in panel.traces]
        if panel.title:
            titles.append({
                "text": panel.title, "x": sum(across) / 2, "y": up[1], "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom",
                "showarrow": False, "font": {"size": TITLE} | dict(panel.font),
            })  # fmt: skip
    if titles:
        layout["annotations"] = titles
    return go.Figure({"data": data, "layout": layout}, _validate=False)
