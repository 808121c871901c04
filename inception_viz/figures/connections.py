"""Who reads whom: connection tables side by side, and what each costs."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.connections import BRANCHES, FULL, Comparison, Wiring
from inception_viz.figures import colours
from inception_viz.sparsity import told_percent
from inception_viz.text import Text

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
TOLD = (0.01, 0.1, 1, 10, 100)  # of the ticks: all of them have no room on a telephone
CELLS = 96  # a side: below two pixels a cell, plotly drops cells
GROUND, CONNECTED = "rgba(125,133,144,0.12)", "#5b6b80"


def _thinned(table: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Every so many-th row and column, and the steps: a sample shows a random table's grain, where means would be grey."""
    steps = [-(-size // CELLS) for size in table.shape]
    return table[:: steps[0], :: steps[1]], steps[0], steps[1]


def tables(wired: Mapping[str, Wiring], text: Text) -> go.Figure:
    """Every wiring's table, outputs down and inputs across; Inception's in the colours of its branches, over the channels that its last stage reads."""
    palette = [GROUND, CONNECTED, *(colours.branch(name) for name, _ in BRANCHES)]
    scale = [[(i + end) / len(palette), colour] for i, colour in enumerate(palette) for end in (0, 1)]
    names = [colours.two_lines(text(name), text) for name in wired]
    figure = make_subplots(1, len(wired), subplot_titles=names, horizontal_spacing=0.02)
    for column, wiring in enumerate(wired.values(), start=1):
        values = np.where(wiring.table, np.where(wiring.branch < 0, 1, 2 + wiring.branch)[:, None], 0).astype(np.uint8)
        shown, down, across = _thinned(values)
        hover = text("output {a} reads input {b}", a="%{y}", b="%{x}") + "<extra></extra>"
        figure.add_trace(
            go.Heatmap(
                z=shown, dy=down, dx=across, zmin=-0.5, zmax=len(palette) - 0.5, colorscale=scale, showscale=False, hovertemplate=hover
            ),
            1,
            column,
        )
    for name, _ in BRANCHES:
        marker = {"color": colours.branch(name), "symbol": "square", "size": 10}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker, row=1, col=len(wired))
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(title=text("inputs"), col=(len(wired) + 1) // 2)  # once, in the middle: five would meet on a telephone
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, autorange="reversed")
    figure.update_annotations(font_size=12)
    colours.plain(figure, 400, top=80)
    figure.update_layout(legend_y=1.14)
    figure.update_yaxes(title=text("outputs"), col=1)
    return figure


def costs(comparison: Comparison, text: Text) -> go.Figure:
    """Operations and measured time of every wiring in every way that it is run, as shares of full connection's; of weights it needs the same share."""
    full, found = comparison.fastest(FULL), comparison.found
    names = [colours.two_lines(text("{wiring}, {way}", wiring=text(w.wiring), way=text(w.way)), text) for w in found]
    times = [1 / w.speedup.median for w in found]
    spread = {
        "type": "data", "array": [1 / w.speedup.low - 1 / w.speedup.median for w in found],
        "arrayminus": [1 / w.speedup.median - 1 / w.speedup.high for w in found], "thickness": 1.5, "width": 4,
    }  # fmt: skip
    figure = go.Figure()
    figure.add_scatter(
        x=[w.macs / full.macs for w in found], y=names, mode="markers", name=text("operations and parameters"), cliponaxis=False,
        marker={"color": colours.BRANCH["1x1"], "size": 12}, hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=times, y=names, mode="markers+text", name=text("measured time"), error_x=spread, text=[told_percent(t) for t in times], textposition="top center",
        marker={"color": colours.BRANCH["3x3"], "size": 12, "symbol": "diamond"}, hovertemplate="%{y}: %{x:.1%}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    figure.add_vline(1, line={"color": colours.NEUTRAL, "width": 1.5})
    figure.update_xaxes(
        type="log", title=text("share of full connection"), tickvals=TICKS, ticktext=[f"{100 * t:g}%" if t in TOLD else "" for t in TICKS]
    )
    colours.plain(figure, 110 + 44 * len(names), top=40)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure.update_layout(margin_r=24)  # for a number over the right end
