"""Two sides in one figure: distributions of r, and bars of what clusters and branches give."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.analysis import Prediction
from inception_viz.architecture import Block
from inception_viz.correlations import Correlation
from inception_viz.figures import attributions, colours, correlations
from inception_viz.figures.correlations import BINS
from inception_viz.text import Text


def predictions(found: Sequence[Prediction], text: Text) -> go.Figure:
    """The likeliest classes of one side, with their probabilities."""
    return attributions.predictions(found, text).update_layout(height=50 + 30 * len(found))


def heatmap(similar: Correlation, block: Block, order: np.ndarray, text: Text) -> go.Figure:
    """The correlations of one side's block, as high as half a page is wide."""
    return correlations.whole(similar, block, order, "", text).update_layout(height=420)


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
    thick = 0.8 / len(sides)
    for place, ((side, values), colour) in enumerate(zip(sides.items(), colours.SIDES[first:], strict=False)):
        rows = np.arange(len(names)) + (place - (len(sides) - 1) / 2) * thick
        hover = [
            f"{text.isolated(name)} · {text.isolated(side)}: {text.isolated(f'{value:+.3f}')}"
            for name, value in zip(names, values, strict=True)
        ]
        figure.add_bar(
            y=rows, x=np.asarray(values, np.float32), width=thick, name=side, orientation="h", marker_color=colour, hovertext=hover, hoverinfo="text",
        )  # fmt: skip
        drawn = (controls or {}).get(side, ())
        figure.add_scatter(
            y=np.repeat(rows[: len(drawn)], [len(d) for d in drawn]), x=np.concatenate([*drawn, []]).astype(np.float32), mode="markers",
            showlegend=False, marker={"color": colours.NEUTRAL, "size": 6, "opacity": 0.7}, hovertemplate="%{x:+.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="overlay", legend_traceorder="normal", showlegend=True)
    figure.update_xaxes(title=unit, zeroline=True, zerolinewidth=2)
    shown = [text.isolated(name) for name in names]
    figure.update_yaxes(tickvals=np.arange(len(names)), ticktext=shown, showgrid=False, zeroline=False)
    colours.plain(figure, 130 + (18 + 14 * len(sides)) * len(names))
    colours.name_rows(figure, shown, text.direction == "rtl")
    return figure
