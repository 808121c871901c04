"""Similarity matrices as heatmaps with their branches along the axes, and the distribution of what they hold."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.architecture import Block
from inception_viz.correlations import Correlation
from inception_viz.figures import colours, remembered
from inception_viz.text import Text

CELLS = 256  # a side: below one pixel a cell, plotly drops cells
BINS = np.linspace(-1, 1, 81)


def reduced(r: np.ndarray, cells: int = CELLS) -> tuple[np.ndarray, int]:
    """A matrix of at most `cells` a side, each the mean of `step` x `step` values that are not nan, and `step`."""
    step = -(-len(r) // cells)
    if step == 1:
        return r, 1
    padded = np.full((-(-len(r) // step) * step,) * 2, np.nan, np.float32)
    padded[: len(r), : len(r)] = r
    blocks = padded.reshape(len(padded) // step, step, -1, step)
    known = ~np.isnan(blocks)
    count = known.sum((1, 3))
    total = np.where(known, blocks, 0).sum((1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32), step


def _heatmap(r: np.ndarray, channels: np.ndarray, text: Text, shared_scale: bool = False) -> go.Heatmap:
    cells, step = reduced(r)
    names = channels[::step].astype(np.int32)
    hover = text("channels {a} and {b}: r = {r}", a="%{x}", b="%{y}", r="%{z:.2f}")
    return go.Heatmap(
        z=cells.astype(np.float32), x=[str(c) for c in names], y=[str(c) for c in names], zmin=-1, zmax=1,
        colorscale=colours.DIVERGING, showscale=not shared_scale, colorbar={"title": {"text": "r"}, "thickness": 12},
        hovertemplate=hover + "<extra></extra>", hoverongaps=False,
    )  # fmt: skip


def _band(block: Block, order: np.ndarray, step: int, along: str) -> go.Heatmap:
    """A strip one cell thick in the colours of the channels' branches."""
    last = max(1, len(block.branches) - 1)
    scale = []
    for index, branch in enumerate(block.branches):
        low, high = max(0.0, (index - 0.5) / last), min(1.0, (index + 0.5) / last)
        scale += [[low, colours.branch(branch.name)], [high, colours.branch(branch.name)]]
    names, cells = [str(c) for c in order[::step]], block.branch_of[order][::step].astype(np.uint8)
    place = {"x": names, "y": [""], "z": cells[None, :]} if along == "x" else {"x": [""], "y": names, "z": cells[:, None]}
    return go.Heatmap(**place, zmin=0, zmax=last, colorscale=scale, showscale=False, hoverinfo="skip")


def _with_bands(figure: go.Figure, column: int, correlation: Correlation, block: Block, order: np.ndarray, text: Text, last: bool) -> None:
    """A heatmap in the given column of the second row, bands of branch colours above it and before it; the colour bar beside the last one."""
    r = correlation.r[np.ix_(order, order)]
    step = reduced(r)[1]
    figure.add_trace(_band(block, order, step, "x"), 1, column)
    figure.add_trace(_band(block, order, step, "y"), 2, column - 1)
    figure.add_trace(_heatmap(r, order, text, shared_scale=not last), 2, column)


@remembered
def whole(correlation: Correlation, block: Block, order: np.ndarray, title: str, text: Text) -> go.Figure:
    """The whole block in the given order of channels, with a band of branch colours along the top and the left."""
    return beside({title: (correlation, order)}, block, text)


@remembered
def beside(shown: Mapping[str, tuple[Correlation, np.ndarray]], block: Block, text: Text) -> go.Figure:
    """Similarities of one block's channels by their titles, each in its own order, side by side on one scale."""
    thin, gap, many = 0.025, 0.004, len(shown)
    titles = [title for name in shown for title in ("", name)] if many > 1 else None
    figure = make_subplots(
        2, 2 * many, column_widths=[thin, 1 - thin] * many, row_heights=[thin, 1 - thin], horizontal_spacing=gap, vertical_spacing=gap,
        subplot_titles=titles,
    )  # fmt: skip
    for index, (correlation, order) in enumerate(shown.values(), start=1):
        _with_bands(figure, 2 * index, correlation, block, order, text, last=index == many)
    for branch in block.branches:
        marker = {"color": colours.branch(branch.name), "symbol": "square", "size": 10}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=branch.name, marker=marker), 2, 2)
    figure.update_xaxes(visible=False, type="category")
    figure.update_yaxes(visible=False, type="category", autorange="reversed")
    if many == 1:
        return colours.plain(figure, 560, next(iter(shown)), text.direction == "rtl", top=36)
    colours.plain(figure, 470, top=70)
    figure.update_layout(legend_y=1.07)
    return figure


@remembered
def branches(correlation: Correlation, block: Block, orders: Sequence[np.ndarray], text: Text) -> go.Figure:
    """One heatmap a branch, side by side on one scale; `orders` are the orders of the channels inside each branch."""
    titles = [text("{branch}: {n} channels", branch=b.name, n=b.stop - b.start) for b in block.branches]
    figure = make_subplots(1, len(block.branches), subplot_titles=titles, horizontal_spacing=0.03)
    for column, (branch, order) in enumerate(zip(block.branches, orders, strict=True), start=1):
        part = correlation.part(branch.start, branch.stop)
        last = column == len(block.branches)
        figure.add_trace(_heatmap(part.r[np.ix_(order, order)], order + branch.start, text, shared_scale=not last), 1, column)
        figure.layout.annotations[column - 1].font = {"size": 14, "color": colours.branch(branch.name)}
    figure.update_xaxes(visible=False, constrain="domain", type="category")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain", type="category")
    for column in range(1, len(block.branches) + 1):
        figure.update_yaxes(scaleanchor="x" if column == 1 else f"x{column}", col=column)
    return colours.plain(figure, 270, top=36)


@remembered
def distribution(parts: Mapping[str, np.ndarray], text: Text, by_chance: Mapping[str, np.ndarray] | None = None) -> go.Figure:
    """The distribution of r in several sets of pairs: the share of pairs in each bin of width 0.025; dotted what it is `by_chance`."""
    figure = go.Figure()
    middle = (BINS[:-1] + BINS[1:]) / 2
    for name, pairs in {**parts, **(by_chance or {})}.items():
        if len(pairs) == 0:
            continue
        share = np.histogram(pairs, BINS)[0] / len(pairs)
        whole = name not in colours.BRANCH  # all pairs, or a null: what is to be compared first
        line = {"color": colours.branch(name), "width": 3 if whole else 1.3, "shape": "hvh", "dash": "solid" if name in parts else "dot"}
        label = text("{name} (n = {n} pairs)", name=name, n=len(pairs))
        figure.add_scatter(x=middle, y=share, name=label, mode="lines", line=line, hovertemplate="r = %{x:.2f}: %{y:.1%}<extra></extra>")
    figure.update_xaxes(title="r", range=[-1, 1], zeroline=True)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    colours.plain(figure, 400)
    colours.title_rows(figure, text("share of pairs"), text.direction == "rtl")
    return figure
