"""How many times as fast as dense each sparse format is, against density."""

from collections.abc import Sequence

import plotly.graph_objects as go

from inception_viz.figures import colours
from inception_viz.sparsity import FORMATS, BreakEven, Point
from inception_viz.text import Text

COLOURS = dict(zip(FORMATS, ("#2b7fd0", "#cf6a00", "#d0493e", "#8a6fd1", "#b3579d", "#0b9470"), strict=True))
SYMBOLS = dict(zip(FORMATS, ("circle", "square", "x", "diamond", "triangle-up", "star"), strict=True))


def speedups(points: Sequence[Point], even: Sequence[BreakEven], text: Text) -> go.Figure:
    """Speed-up over dense against density on logarithmic axes, with intervals; above 1 sparse wins, rings mark where a format breaks even.

    The dotted line is what the operations alone would allow: 1 / density.
    """
    figure = go.Figure()
    asked = sorted({p.asked for p in points})
    line = {"color": colours.NEUTRAL, "dash": "dot", "width": 1.5}
    figure.add_scatter(
        x=asked, y=[1 / d for d in asked], mode="lines", line=line, name=text("what the operations would allow"), hoverinfo="skip"
    )
    for name in dict.fromkeys(p.format for p in points):
        own = [p for p in points if p.format == name]
        middle = [p.speedup.median for p in own]
        spread = {
            "type": "data", "array": [p.speedup.high - p.speedup.median for p in own],
            "arrayminus": [p.speedup.median - p.speedup.low for p in own], "thickness": 1.2, "width": 3,
        }  # fmt: skip
        figure.add_scatter(
            x=[p.density for p in own], y=middle, error_y=spread, mode="lines+markers", name=text.isolated(text(name)),
            line={"color": COLOURS[name], "width": 2},
            marker={"size": 8, "symbol": SYMBOLS[name]}, hovertemplate="%{x:.2%}: x %{y:.2f}<extra></extra>",
        )  # fmt: skip
    ends = [b for b in even if 0 < b.density < 1]
    ring = {"size": 15, "symbol": "circle-open", "line": {"width": 2}, "color": [COLOURS[b.format] for b in ends]}
    figure.add_scatter(
        x=[b.density for b in ends],
        y=[1] * len(ends),
        mode="markers",
        marker=ring,
        name=text("break-even"),
        hovertemplate="%{x:.2%}<extra></extra>",
    )
    figure.add_hline(1, line={"color": colours.NEUTRAL, "width": 1.5})
    figure.update_xaxes(type="log", title=text("density (share of non-zeros)"), tickvals=asked, ticktext=[f"{100 * d:g}%" for d in asked])
    figure.update_yaxes(type="log", dtick=1)
    colours.plain(figure, 520, top=30)
    colours.title_rows(figure, text("times as fast as dense"), text.direction == "rtl")
    return figure
