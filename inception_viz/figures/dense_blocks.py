"""Where the non-zeros of a matrix lie before and after it is reordered, and what every order is worth."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.dense_blocks import CSR, DENSE, Clustering, Partition
from inception_viz.figures import colours
from inception_viz.measurement import Timing
from inception_viz.text import Text

ROOM = 1.7  # of the longest bar
CELLS = 144  # of the longer side: below two pixels a cell, plotly drops cells


def cells(pattern: np.ndarray, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The share of non-zeros in each of at most 144 x 144 cells, rows and columns in the given orders, float32."""
    places = np.empty(shape[0], int), np.empty(shape[1], int)
    places[0][rows], places[1][columns] = np.arange(shape[0]), np.arange(shape[1])
    edges = [np.linspace(0, size, min(size, CELLS) + 1) for size in shape]
    counts, _, _ = np.histogram2d(places[0][pattern[0]], places[1][pattern[1]], bins=edges)
    return (counts / np.outer(*(np.diff(np.ceil(e)) for e in edges))).astype(np.float32)


def before_and_after(clustering: Clustering, partition: Partition, text: Text) -> go.Figure:
    """The matrix in the order given and in that of `partition`, blocks framed; darker cells hold more non-zeros."""
    shape = (clustering.shape.outputs, clustering.shape.inputs)
    rows, columns = partition.order()
    orders = ((np.arange(shape[0]), np.arange(shape[1])), (rows, columns))
    figure = make_subplots(1, 2, subplot_titles=[text("as given"), text("reordered")], horizontal_spacing=0.03)
    shares = [cells(clustering.pattern, shape, *order) for order in orders]
    top = float(max(share.max() for share in shares)) or 1.0
    for column, share in enumerate(shares, start=1):
        step = [size / cell for size, cell in zip(shape, share.shape, strict=True)]
        figure.add_trace(
            go.Heatmap(
                z=share, y0=step[0] / 2, dy=step[0], x0=step[1] / 2, dx=step[1], zmin=0, zmax=top, colorscale=colours.SEQUENTIAL, showscale=column == 2,
                colorbar={"tickformat": ".0%", "thickness": 12}, hovertemplate="%{z:.0%}<extra></extra>",
            ), 1, column,
        )  # fmt: skip
    figure.update_layout(shapes=_frames(partition, rows, columns))
    figure.update_xaxes(visible=False, range=[0, shape[1]])
    figure.update_yaxes(visible=False, range=[shape[0], 0])
    return colours.plain(figure, 380, top=30)


def _frames(partition: Partition, rows: np.ndarray, columns: np.ndarray) -> list[dict]:
    frames = []
    for block in partition.blocks():
        down, across = np.flatnonzero(partition.rows[rows] == block), np.flatnonzero(partition.columns[columns] == block)
        corners = {"y0": int(down[0]), "y1": int(down[-1]) + 1, "x0": int(across[0]), "x1": int(across[-1]) + 1}
        frames.append({"type": "rect", "xref": "x2", "yref": "y2", "line": {"color": colours.POSITIVE, "width": 1.2}, **corners})
    return frames


def _run(name: str, timing: Timing) -> str:
    """A time and both its ends, milliseconds."""
    return f"{name}: {1e3 * timing.median:.2f} ({1e3 * timing.low:.2f} … {1e3 * timing.high:.2f})"


def orders(clustering: Clustering, text: Text) -> go.Figure:
    """For every order the share of non-zeros inside blocks (dotted: what shuffled ones reach), its storage, and its time beside CSR's and dense's."""
    found = clustering.found
    names = [colours.two_lines(text(g.method), text) for g in found]
    titles = [text("non-zeros inside"), text("storage against CSR"), text("time, milliseconds")]
    figure = make_subplots(
        1, 3, shared_yaxes=True, subplot_titles=[colours.two_lines(title, text) for title in titles], horizontal_spacing=0.08
    )
    values = (([g.inside for g in found], ".0%"), ([g.storage for g in found], ".2f"), ([1e3 * g.timing.median for g in found], ".2f"))
    for column, ((bars, shown), colour) in enumerate(
        zip(values, (colours.BRANCH[n] for n in ("1x1", "pool", "3x3")), strict=True), start=1
    ):
        figure.add_bar(
            x=bars, y=names, orientation="h", marker_color=colour, texttemplate="%{x:" + shown + "}", textposition="outside", cliponaxis=False,
            hovertemplate="%{y}: %{x:" + shown + "}<extra></extra>", row=1, col=column,
        )  # fmt: skip
    figure.data[-1].update(
        hovertext=[_run(name, g.timing) for name, g in zip(names, found, strict=True)], hovertemplate="%{hovertext}<extra></extra>"
    )
    plain = ((CSR, clustering.csr), (text(DENSE), clustering.dense))
    for name, timing in plain:
        figure.add_bar(
            x=[1e3 * timing.median], y=[name], orientation="h", marker_color=colours.NEUTRAL, texttemplate="%{x:.2f}", textposition="outside", cliponaxis=False,
            hovertext=[_run(name, timing)], hovertemplate="%{hovertext}<extra></extra>", row=1, col=3,
        )  # fmt: skip
    figure.add_vline(float(clustering.null.mean()), line={"dash": "dot", "color": colours.NEUTRAL}, row=1, col=1)
    figure.add_vline(1, line={"dash": "dot", "color": colours.NEUTRAL}, row=1, col=2)
    figure.update_xaxes(showgrid=False, showticklabels=False)
    timings = [*(g.timing for g in found), clustering.csr, clustering.dense]
    longest = (max(g.inside for g in found), max(1.0, *(g.storage for g in found)), 1e3 * max(timing.median for timing in timings))
    for column, end in enumerate(longest, start=1):
        figure.update_xaxes(range=[0, ROOM * end], row=1, col=column)  # and the number behind the longest bar
    figure.update_annotations(font_size=13)
    figure.update_layout(showlegend=False)
    colours.plain(figure, 100 + 32 * (len(names) + 2), top=46)
    colours.name_rows(figure, [*names, text(DENSE)], text.direction == "rtl")
    return figure
