"""Clusters beside those of a null, how often they are found again, and which cells of clusters and branches are beyond chance."""

import numpy as np
import plotly.graph_objects as go

from inception_viz.architecture import Block
from inception_viz.figures import colours
from inception_viz.nulls import LEVEL
from inception_viz.text import Text, message
from inception_viz.validation import SURVIVES, ClusterTests, Specialisation, Stability

SIZES = [2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000]
YES, NO = colours.BRANCH["5x5"], colours.NEUTRAL  # beyond chance, and not


def _names(count: int, text: Text) -> list[str]:
    return [text("cluster {n}", n=k + 1) for k in range(count)]


def tightness(tests: ClusterTests, null: str, text: Text) -> go.Figure:
    """Each cluster by its size and mean r, numbered, in front of the clusters of all draws of a null; dotted what is expected at a size."""
    figure = go.Figure()
    figure.add_scatter(
        x=tests.chance_sizes.astype(np.int32), y=tests.chance_r.astype(np.float32), mode="markers", name=text("{null}: chance", null=null),
        marker={"color": NO, "size": 6, "opacity": 0.55}, hovertemplate="%{x}: r = %{y:.2f}<extra></extra>",
    )  # fmt: skip
    known = ~np.isnan(tests.mean_r)
    order = np.argsort(tests.sizes[known], kind="stable")
    line = {"color": NO, "dash": "dot", "width": 1.5}
    figure.add_scatter(
        x=tests.sizes[known][order], y=tests.expected[known][order], mode="lines", name=text("expected by chance"), line=line
    )
    for real, name, fill in ((True, text("beyond chance"), YES), (False, text("not beyond chance"), colours.BRANCH["3x3"])):
        chosen = np.flatnonzero(known & (tests.real == real))
        if not len(chosen):
            continue
        hover = [text("cluster {n}: p = {p}, q = {q}", n=int(k) + 1, p=f"{tests.p[k]:.3f}", q=f"{tests.q[k]:.3f}") for k in chosen]
        figure.add_scatter(
            x=tests.sizes[chosen], y=tests.mean_r[chosen], mode="markers+text", name=name, text=[str(k + 1) for k in chosen],
            textposition="middle center", textfont={"color": "white", "size": 11}, marker={"color": fill, "size": 20}, hovertext=hover, hoverinfo="text",
        )  # fmt: skip
    figure.update_xaxes(title=text("channels in the cluster (logarithmic scale)"), type="log", tickvals=SIZES)
    colours.plain(figure, 400)
    colours.title_rows(figure, text("mean r inside"), text.direction == "rtl")
    return figure


def found_again(found: Stability, chance: Stability, text: Text) -> go.Figure:
    """How well each cluster is found again in resampled data, as bars; lines at what counts as found and at what clusters of a null reach."""
    names = _names(len(found.by_cluster), text)
    fills = [YES if survives else NO for survives in found.survives]
    figure = go.Figure(
        go.Bar(
            x=found.by_cluster.astype(np.float32), y=names, orientation="h", marker_color=fills, texttemplate="%{x:.2f}",
            textposition="outside", textangle=0, cliponaxis=False, hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(
        SURVIVES, line={"color": YES, "dash": "dash", "width": 1.5}, annotation_text=text("found again"), annotation_position="top"
    )
    if len(chance.by_cluster):
        level = float(np.mean(chance.by_cluster))
        figure.add_vline(
            level, line={"color": NO, "dash": "dot", "width": 1.5}, annotation_text=text("by chance"), annotation_position="top"
        )
    figure.update_xaxes(title=text("adjusted Rand index with the best match"), range=[min(0.0, float(found.by_cluster.min(initial=0))), 1])
    colours.plain(figure, 120 + 26 * len(names), top=34)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


def over_cells(found: Specialisation, block: Block, text: Text) -> go.Figure:
    """Channels of each cluster by branch over what chance would give, as a heatmap of counts; a star where q is at most LEVEL."""
    table = found.table
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.outer(table.sum(1), table.sum(0)) / max(1, table.sum())
        ratio = np.where(expected > 0, table / expected, np.nan)
    stars = np.where(found.cells_q <= LEVEL, " ★", "")
    names, branches = _names(len(table), text), [b.name for b in block.branches]
    told = [[f"{count}{star}" for count, star in zip(*row, strict=True)] for row in zip(table.tolist(), stars.tolist(), strict=True)]
    words = message("{n} channels, {expected} expected: p = {p}, q = {q}")
    cells = zip(table, expected, found.cells_p, found.cells_q, strict=True)
    hover = [
        [text(words, n=int(n), expected=f"{e:.1f}", p=f"{p:.2g}", q=f"{q:.2g}") for n, e, p, q in zip(*row, strict=True)] for row in cells
    ]
    heat = go.Heatmap(
        z=ratio.astype(np.float32), x=branches, y=names, text=told, texttemplate="%{text}", hovertext=hover, hoverinfo="text", xgap=2, ygap=2,
        colorscale=colours.DIVERGING, zmin=0, zmax=2, colorbar={"title": {"text": text("times chance")}, "thickness": 12},
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(side="top", type="category")
    colours.plain(figure, 120 + 26 * len(names), top=34)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure
