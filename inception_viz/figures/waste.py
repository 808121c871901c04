"""Weights near zero, wasted channels by block, and what removing them does."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.figures import colours
from inception_viz.pruning import WHOLE, Judged, interval
from inception_viz.text import Text
from inception_viz.waste import CONSTANT, COPY, DEAD, EDGES, KINDS, Idle, LayerWeights

FILLS = {DEAD: "#d0493e", CONSTANT: "#a67c00", COPY: "#8a6fd1"}


def weights(histogram: np.ndarray, bell: np.ndarray, threshold: float, text: Text) -> go.Figure:
    """How the weights are distributed, in units of their layer's root mean square, beside a bell curve; what counts as near zero is shaded."""
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    figure = go.Figure()
    hover = "%{x:.2f}: %{y:.2%}<extra></extra>"
    figure.add_scatter(
        x=middle, y=histogram, name=text("weights of the network"), line={"color": colours.BRANCH["1x1"], "width": 2}, hovertemplate=hover
    )
    figure.add_scatter(
        x=middle, y=bell, name=text("bell curve"), line={"color": colours.NEUTRAL, "width": 2, "dash": "dot"}, hovertemplate=hover
    )
    figure.add_vrect(x0=-threshold, x1=threshold, fillcolor=colours.BRANCH["3x3"], opacity=0.18, line_width=0)
    figure.update_xaxes(title=text("weight, in units of its layer's root mean square"))
    figure.update_yaxes(tickformat=".1%", rangemode="tozero")
    colours.plain(figure, 320, top=30)
    colours.title_rows(figure, text("share of weights"), text.direction == "rtl")
    return figure


def layers(few: Sequence[LayerWeights], chance: float, text: Text) -> go.Figure:
    """The share of near-zero weights of every layer, from the picture to the classes, in the colours of the branches; the line is what a bell curve has."""
    shares = np.array([layer.near_zero / layer.weights for layer in few])
    figure = go.Figure()
    for branch in dict.fromkeys(layer.branch for layer in few):
        here = [i for i, layer in enumerate(few) if layer.branch == branch]
        figure.add_bar(
            x=here, y=shares[here], name=branch or text("outside of blocks"), marker_color=colours.branch(branch or ""), width=0.9,
            hovertext=[few[i].name for i in here], hovertemplate="%{hovertext}: %{y:.1%}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=chance, line={"color": colours.NEUTRAL, "dash": "dot", "width": 2})
    figure.update_xaxes(title=text("layers, from the picture to the classes"), showticklabels=False)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    colours.plain(figure, 300, top=30)
    colours.title_rows(figure, text("near zero"), text.direction == "rtl")
    return figure


def channels(both: Idle, text: Text) -> go.Figure:
    """Wasted channels by block, of the network (left bar) and of its untrained twin (right bar, hatched); below, the effective rank of both."""
    names = list(both.found)
    titles = [text("wasted channels"), text("effective rank, directions")]
    figure = make_subplots(2, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.14)
    for group, found in enumerate((both.found, both.twin_found)):
        for kind in (DEAD, CONSTANT, COPY):
            values = np.array([found[name].count(kind) for name in names], np.int32)
            figure.add_bar(
                x=names, y=values, name=text(KINDS[kind]), marker={"color": FILLS[kind], "pattern": {"shape": "/" if group else ""}},
                offsetgroup=str(group), legendgroup=str(kind), showlegend=not group, hovertemplate="%{x}: %{y}<extra></extra>", row=1, col=1,
            )  # fmt: skip
    for label, seen, dash in ((text("this network"), both.seen, "solid"), (text("untrained twin"), both.twin_seen, "dot")):
        ranks = np.array([seen[name].rank for name in names], np.float32)
        line = {"color": colours.BRANCH["1x1"], "dash": dash, "width": 2}
        figure.add_scatter(
            x=names, y=ranks, name=label, mode="lines+markers", line=line, hovertemplate="%{x}: %{y:.1f}<extra></extra>", row=2, col=1
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(type="category")
    figure.update_yaxes(rangemode="tozero")
    return colours.titled(figure, titles, 520, text.direction == "rtl")


def removal(judged: Sequence[Judged], text: Text) -> go.Figure:
    """For each kind of waste the multiply-accumulates that are saved, and how often the answer stays, or is right, with 95% intervals."""
    whole = next(one for one in judged if one.removed == WHOLE)
    shown = [one for one in judged if one.removed != WHOLE]
    names = [colours.two_lines(text(one.removed), text) for one in shown]
    columns = [(text("same class as before"), [one.same for one in shown], colours.BRANCH["5x5"])]
    if whole.right is not None:
        columns.append((text("right class"), [one.right or 0 for one in shown], colours.BRANCH["pool"]))
    titles = [text("MACs saved"), *(title for title, *_ in columns)]
    figure = make_subplots(
        1, len(titles), shared_yaxes=True, subplot_titles=[colours.two_lines(title, text) for title in titles], horizontal_spacing=0.12
    )
    figure.add_bar(
        x=np.array([1 - one.macs / whole.macs for one in shown]), y=names, orientation="h", marker_color=colours.BRANCH["1x1"], width=0.5,
        texttemplate="%{x:.1%}", textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x:.2%}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    for column, (_, counts, colour) in enumerate(columns, start=2):
        shares = np.array([count / one.n for count, one in zip(counts, shown, strict=True)])
        low, high = np.array([interval(count, one.n) for count, one in zip(counts, shown, strict=True)]).T
        spread = {"type": "data", "array": high - shares, "arrayminus": shares - low, "thickness": 2, "width": 5}
        figure.add_scatter(
            x=shares, y=names, mode="markers+text", marker={"color": colour, "size": 10}, error_x=spread, texttemplate="%{x:.1%}",
            textposition="top center", cliponaxis=False, hovertemplate="%{y}: %{x:.1%}<extra></extra>", row=1, col=column,
        )  # fmt: skip
    if whole.right is not None:
        figure.add_vline(x=whole.right / whole.n, line={"color": colours.NEUTRAL, "dash": "dot"}, row=1, col=3)
    figure.update_xaxes(range=[0, 1.04], zeroline=True, tickvals=[0, 1], ticktext=["0", "100%"], tickangle=0)
    figure.update_yaxes(range=[len(names) - 0.5, -0.7])
    figure.update_layout(showlegend=False)
    figure.update_annotations(font_size=13)
    colours.plain(figure, 100 + 56 * len(names), top=46)
    colours.name_rows(figure, names, text.direction == "rtl")
    figure.update_layout(margin_r=30)  # for the numbers over the right ends
    figure.update_yaxes(autorange=False)
    return figure
