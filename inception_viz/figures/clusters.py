"""Clusters over branches, clusters over the picture, and which clusters fire together over several pictures."""

from collections.abc import Sequence

import networkx as nx
import numpy as np
import plotly.graph_objects as go

from inception_viz.architecture import Block
from inception_viz.figures import colours, panels, remembered
from inception_viz.figures.panels import Panel
from inception_viz.grids import Grid
from inception_viz.text import Text

ACROSS = 3


@remembered
def over_branches(table: np.ndarray, block: Block, text: Text) -> go.Figure:
    """Channels of each cluster by branch, `table` (clusters, branches), as stacked bars."""
    names = [text("cluster {n}", n=k + 1) for k in range(len(table))]
    bars = [
        {
            "type": "bar", "y": names, "x": table[:, index].astype(np.int32), "name": branch.name, "orientation": "h",
            "marker": {"color": colours.branch(branch.name)}, "hovertemplate": "%{y} · " + text.isolated(branch.name) + ": %{x}<extra></extra>",
        }
        for index, branch in enumerate(block.branches)
    ]  # fmt: skip
    layout = colours.manner(110 + 26 * len(table)) | {"barmode": "stack", "xaxis": {"title": {"text": text("channels")}}}
    layout["legend"] = {**layout["legend"], "traceorder": "normal"}
    figure = go.Figure({"data": bars, "layout": layout}, _validate=False)  # as in `panels`
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


@remembered
def maps(view: np.ndarray, values: Sequence[np.ndarray], cells: Grid, names: Sequence[str], text: Text, signed: bool = False) -> go.Figure:
    """Each map `(H, W)` of `values` over what the network saw, `cells` where they lie, as small pictures under its name, each with its own scale."""
    across = min(ACROSS, len(values))
    rows = -(-len(values) // across)
    found: list[Panel | None] = []
    for index, (one, name) in enumerate(zip(values, names, strict=True), start=1):
        (picture, heat), x, y = panels.over(view, one, cells, signed, 0.62)
        anchored = {**y, "scaleanchor": "x" if index == 1 else f"x{index}", "constrain": "domain", "constraintoward": "top"}
        found.append(Panel([picture, {**heat, "showscale": False}], name, {**x, "constrain": "domain"}, anchored))
    found += [None] * (rows * across - len(found))
    height = 40 + (215 if rows > 1 or across > 2 else 300) * rows
    return panels.figure(found, [1] * across, [1] * rows, (0.02, 0.2 / max(rows, 2)), height, top=36)


@remembered
def network(graph: nx.Graph, text: Text) -> go.Figure:
    """Clusters as nodes on a circle, larger where they fire more, joined where they fire together over the pictures."""
    places = nx.circular_layout(graph)
    figure = go.Figure()
    for a, b, r in graph.edges(data="weight"):
        line = {"color": colours.NEUTRAL, "width": 1 + 5 * r}
        figure.add_scatter(x=[places[a][0], places[b][0]], y=[places[a][1], places[b][1]], mode="lines", line=line, hoverinfo="skip")
        middle = (places[a] + places[b]) / 2
        figure.add_annotation(x=middle[0], y=middle[1], text=f"{r:.2f}", showarrow=False, font={"size": 11})
    means = np.array([graph.nodes[k]["mean"] for k in graph])
    figure.add_scatter(
        x=[places[k][0] for k in graph], y=[places[k][1] for k in graph], mode="markers+text", text=[str(k + 1) for k in graph],
        marker={"size": 22 + 26 * means / (means.max() or 1), "color": colours.BRANCH["1x1"]}, textfont={"color": "white"},
        hovertext=[text("cluster {n}: mean activation {mean}", n=k + 1, mean=f"{graph.nodes[k]['mean']:.3g}") for k in graph], hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-1.3, 1.3])
    figure.update_yaxes(visible=False, range=[-1.3, 1.3], scaleanchor="x")
    figure.update_layout(showlegend=False)
    return colours.plain(figure, 420)
