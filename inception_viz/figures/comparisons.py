"""Two sides in one figure: distributions of r, and bars of what clusters and branches give."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.figures import colours
from inception_viz.figures.correlations import BINS
from inception_viz.text import Text


def distributions(sides: Mapping[str, tuple[np.ndarray, np.ndarray]], text: Text) -> go.Figure:
    """The distribution of r on each side, and dotted that of its own shifted maps: `sides` are name -> (pairs, pairs by chance)."""
    figure = go.Figure()
    middle = (BINS[:-1] + BINS[1:]) / 2
    for (name, (pairs, chance)), colour in zip(sides.items(), colours.SIDES, strict=True):
        for values, dash, label in (
            (pairs, "solid", text("{name} (n = {n} pairs)", name=name, n=len(pairs))),
            (chance, "dot", text("{name}: shifted maps", name=name)),
        ):
            if len(values):
                figure.add_scatter(
                    x=middle, y=(np.histogram(values, BINS)[0] / len(values)).astype(np.float32), name=label, mode="lines",
                    line={"color": colour, "width": 2, "shape": "hvh", "dash": dash}, hovertemplate="r = %{x:.2f}: %{y:.1%}<extra></extra>",
                )  # fmt: skip
    figure.update_xaxes(title="r", range=[-1, 1], zeroline=True)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    colours.plain(figure, 360)
    colours.title_rows(figure, text("share of pairs"), text.direction == "rtl")
    return figure


def bars(
    sides: Mapping[str, Sequence[float] | np.ndarray], names: Sequence[str], unit: str, text: Text,
    controls: Mapping[str, Sequence[np.ndarray]] | None = None, first: int = 0,
) -> go.Figure:  # fmt: skip
    """For every name one bar a side (name of the side -> values), side by side; `controls` are what random sets reach, drawn as dots.

    One side alone has the colour of side number `first`.
    """
    figure = go.Figure()
    for (side, values), colour in zip(sides.items(), colours.SIDES[first:], strict=False):
        figure.add_bar(
            y=list(names), x=np.asarray(values, np.float32), name=side, orientation="h", marker_color=colour, offsetgroup=side,
            hovertemplate="%{y} · " + side + ": %{x:+.3f}<extra></extra>",
        )  # fmt: skip
        for index, drawn in enumerate((controls or {}).get(side, ())):
            figure.add_scatter(
                y=[names[index]] * len(drawn), x=np.asarray(drawn, np.float32), mode="markers", offsetgroup=side, showlegend=False,
                marker={"color": colours.NEUTRAL, "size": 6, "opacity": 0.55}, hovertemplate="%{x:+.3f}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(barmode="group", scattermode="group", legend_traceorder="normal", showlegend=True)
    figure.update_xaxes(title=unit, zeroline=True, zerolinewidth=2)
    colours.plain(figure, 130 + (18 + 14 * len(sides)) * len(names))
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure
