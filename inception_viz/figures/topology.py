"""A planted network beside the recovered one, how well they agree, and where recovery ends."""

from collections.abc import Mapping

import networkx as nx
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.figures import colours
from inception_viz.text import Text
from inception_viz.topology import Border, Neighbourhood, Recovery

RIGHT, MISSING, EXTRA = colours.BRANCH["1x1"], colours.NEUTRAL, colours.BRANCH["3x3"]
Edges = Mapping[tuple[int, int], int]


def _places(shown: Neighbourhood) -> dict[tuple[str, int], tuple[float, float]]:
    """Parents above, children below, each child under the middle of its planted parents."""
    column = {parent: index for index, parent in enumerate(shown.parents)}
    graph = nx.Graph([(("parent", p), ("child", c)) for p, c in {**shown.planted, **shown.recovered}])
    middle = {c: np.mean([column[p] for _, p in graph[("child", c)]]) for c in shown.children}
    order = sorted(shown.children, key=lambda c: (middle[c], c))
    wide = max(1, len(order) - 1)
    above = {("parent", p): ((i + 0.5) / len(shown.parents), 1.0) for p, i in column.items()}
    return above | {("child", c): (i / wide, 0.0) for i, c in enumerate(order)}


def _lines(edges: Edges, sign: int, places: Mapping[tuple[str, int], tuple[float, float]]) -> dict[str, list[float | None]]:
    x: list[float | None] = []
    y: list[float | None] = []
    for (parent, child), own in edges.items():
        if own == sign:
            (x0, y0), (x1, y1) = places["parent", parent], places["child", child]
            x += [x0, x1, None]
            y += [y0, y1, None]
    return {"x": x, "y": y}


def side_by_side(shown: Neighbourhood, text: Text) -> go.Figure:
    """The planted connections (left) and the recovered ones (right) of a few parents: right, missing and extra ones told apart."""
    titles = [text("planted"), text("recovered from samples")]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.04)
    places = _places(shown)
    right = {edge: sign for edge, sign in shown.recovered.items() if shown.planted.get(edge) == sign}
    missing = {edge: sign for edge, sign in shown.planted.items() if edge not in right}
    extra = {edge: sign for edge, sign in shown.recovered.items() if edge not in right}
    kinds = (
        (1, text("planted"), RIGHT, shown.planted),
        (2, text("rightly recovered"), RIGHT, right),
        (2, text("missing"), MISSING, missing),
        (2, text("too many"), EXTRA, extra),
    )
    for column, name, colour, edges in kinds:
        for sign, dash, suffix in ((1, "solid", text("for")), (-1, "dot", text("against"))):
            width = 1 if colour == MISSING else 2
            line = {"color": colour, "width": width, "dash": dash}
            label = text.isolated(text("{kind}, speaks {side}", kind=name, side=suffix))
            figure.add_scatter(**_lines(edges, sign, places), mode="lines", line=line, name=label, hoverinfo="skip", row=1, col=column)
    for column in (1, 2):
        for kind, units, symbol in (("parent", shown.parents, "square"), ("child", shown.children, "circle")):
            x, y = zip(*(places[kind, unit] for unit in units), strict=True)
            hover = [text("unit {n} above", n=u) if kind == "parent" else text("unit {n} below", n=u) for u in units]
            figure.add_scatter(
                x=x, y=y, mode="markers", marker={"symbol": symbol, "size": 11, "color": colours.NEUTRAL}, hovertext=hover, hoverinfo="text",
                showlegend=False, row=1, col=column,
            )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.04, 1.04])
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    figure = colours.plain(figure, 430, top=36)
    figure.update_layout(legend={"y": -0.02, "yanchor": "top"}, margin_b=70)
    return figure


def agreement(found: Recovery, text: Text) -> go.Figure:
    """Precision and recall of positive and negative connections, layer by layer from the lowest up."""
    names = [text.isolated(text("layer {n}", n=i + 1)) for i in range(len(found.scores))]
    bars = (
        (text("for: precision"), colours.BRANCH["1x1"], "", [s.positive_precision for s in found.scores]),
        (text("for: recall"), colours.BRANCH["1x1"], "/", [s.positive_recall for s in found.scores]),
        (text("against: precision"), colours.BRANCH["3x3"], "", [s.negative_precision for s in found.scores]),
        (text("against: recall"), colours.BRANCH["3x3"], "/", [s.negative_recall for s in found.scores]),
    )
    figure = go.Figure()
    for name, colour, pattern, values in bars:
        marker = {"color": colour, "pattern": {"shape": pattern}}
        figure.add_bar(x=names, y=values, name=name, marker=marker, hovertemplate="%{y:.1%}<extra></extra>")
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    colours.plain(figure, 330)
    colours.number_rows(figure, text.direction == "rtl")
    return figure


def border(found: Border, text: Text) -> go.Figure:
    """Where recovery works: F1 of the worst layer over samples (across) and the share that fires at the top (up)."""
    figure = go.Figure(
        go.Heatmap(
            z=found.f1.astype(np.float32), x=[f"{n:,}" for n in found.samples], y=[f"{d:.2%}" for d in found.densities], zmin=0, zmax=1,
            colorscale=colours.SEQUENTIAL, colorbar={"title": {"text": "F1"}, "thickness": 12}, texttemplate="%{z:.2f}",
            hovertemplate=text("{samples} samples, {share} fire at the top: F1 = {f1}", samples="%{x}", share="%{y}", f1="%{z:.2f}") + "<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title=text("samples"), type="category")
    figure.update_yaxes(type="category")
    colours.plain(figure, 380)
    colours.title_rows(figure, text("share that fires at the top"), text.direction == "rtl")
    return figure
