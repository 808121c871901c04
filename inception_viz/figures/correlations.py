"""Similarity matrices as heatmaps with their branches along the axes, and the distribution of what they hold."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.architecture import Block
from inception_viz.correlations import Correlation
from inception_viz.figures import colours, panels, remembered
from inception_viz.figures.panels import Panel, Piece
from inception_viz.text import Text

CELLS = 256  # a side of a map that stands alone: two pixels a cell, of which plotly draws every one
BESIDE, SMALL = 200, 100  # of one of two maps side by side, and of a branch
BINS = np.linspace(-1, 1, 81)
Pairs = Correlation | np.ndarray  # all pairs of channels, or r of some (n,)


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


RARE = [[0.0, "#67001f"], [0.01, "#b2182b"], [0.05, "#ef8a62"], [0.1, "#fddbc7"], [0.3, "#f7f7f7"], [1.0, "#d9d9d9"]]  # by p
HIDDEN = {"visible": False, "type": "category"}  # axes that name channels, unseen


def _heatmap(r: np.ndarray, channels: np.ndarray, text: Text, with_bar: bool, most: int = CELLS) -> Piece:
    cells, step = reduced(r, most)
    names = [str(c) for c in channels[::step].astype(np.int32)]
    hover = text("channels {a} and {b}: r = {r}", a="%{x}", b="%{y}", r="%{z:.2f}")
    return {
        "type": "heatmap", "z": cells.astype(np.float32), "x": names, "y": names, "zmin": -1, "zmax": 1, "colorscale": colours.DIVERGING,
        "showscale": with_bar, "colorbar": {"title": {"text": "r"}, "thickness": 12}, "hovertemplate": hover + "<extra></extra>", "hoverongaps": False,
    }  # fmt: skip


def _band(block: Block, order: np.ndarray, step: int, along: str) -> Piece:
    """A strip one cell thick in the colours of the channels' branches."""
    last = max(1, len(block.branches) - 1)
    scale = []
    for index, branch in enumerate(block.branches):
        low, high = max(0.0, (index - 0.5) / last), min(1.0, (index + 0.5) / last)
        scale += [[low, colours.branch(branch.name)], [high, colours.branch(branch.name)]]
    names, cells = [str(c) for c in order[::step]], block.branch_of[order][::step].astype(np.uint8)
    place = {"x": names, "y": [""], "z": cells[None, :]} if along == "x" else {"x": [""], "y": names, "z": cells[:, None]}
    return {"type": "heatmap", **place, "zmin": 0, "zmax": last, "colorscale": scale, "showscale": False, "hoverinfo": "skip"}


def _named(block: Block) -> list[Piece]:
    """Nothing but entries of the legend: what the colours of the bands mean."""
    return [
        {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": branch.name,
         "marker": {"color": colours.branch(branch.name), "symbol": "square", "size": 10}}
        for branch in block.branches
    ]  # fmt: skip


@remembered
def whole(correlation: Correlation, block: Block, order: np.ndarray, title: str, text: Text) -> go.Figure:
    """The whole block in the given order of channels, with a band of branch colours along the top and the left."""
    return beside({title: (correlation, order)}, block, text)


@remembered
def beside(shown: Mapping[str, tuple[Correlation, np.ndarray]], block: Block, text: Text) -> go.Figure:
    """Similarities of one block's channels by their titles, each in its own order, side by side on one scale; the bar beside the last one."""
    thin, gap, many = 0.025, 0.004, len(shown)
    bands: list[Panel | None] = []
    maps: list[Panel | None] = []
    for index, (name, (correlation, order)) in enumerate(shown.items(), start=1):
        r = correlation.r[np.ix_(order, order)]
        most, down = CELLS if many == 1 else BESIDE, HIDDEN | {"autorange": "reversed"}
        step = reduced(r, most)[1]
        bands += [None, Panel([_band(block, order, step, "x")], name if many > 1 else "", HIDDEN, down)]
        side, heat = [_band(block, order, step, "y")], [_heatmap(r, order, text, with_bar=index == many, most=most)]
        maps += [Panel(side, "", HIDDEN, down), Panel(heat + (_named(block) if index == 1 else []), "", HIDDEN, down)]
    shares, gaps = [thin, 1 - thin], (gap, gap)
    if many == 1:
        title, right_to_left = next(iter(shown)), text.direction == "rtl"
        return panels.figure(bands + maps, shares, shares, gaps, 560, title=title, right_to_left=right_to_left, top=36)
    return panels.figure(bands + maps, shares * many, shares, gaps, 470, top=70, legend_y=1.07)


@remembered
def rareness(p: np.ndarray, block: Block, order: np.ndarray, text: Text) -> go.Figure:
    """p of every pair of channels `(C, C)`, in the given order, with the branch colours along the top and the left; dark is rare by chance."""
    thin, shown = 0.025, p[np.ix_(order, order)]
    (cells, step), down = reduced(shown), HIDDEN | {"autorange": "reversed"}
    names = [str(c) for c in order[::step].astype(np.int32)]
    heat = {
        "type": "heatmap", "z": cells.astype(np.float32), "x": names, "y": names, "zmin": 0, "zmax": 1, "colorscale": RARE, "hoverongaps": False,
        "hovertemplate": text("channels {a} and {b}: p = {p}", a="%{x}", b="%{y}", p="%{z:.3f}") + "<extra></extra>",
        "colorbar": {"title": {"text": "p"}, "thickness": 12, "tickvals": [0.05, 0.25, 0.5, 0.75, 1]},
    }  # fmt: skip
    parts = [None, Panel([_band(block, order, step, "x")], "", HIDDEN, down), Panel([_band(block, order, step, "y")], "", HIDDEN, down),
             Panel([heat, *_named(block)], "", HIDDEN, down)]  # fmt: skip
    return panels.figure(parts, [thin, 1 - thin], [thin, 1 - thin], (0.004, 0.004), 430, top=36, legend_y=1.02)


@remembered
def branches(correlation: Correlation, block: Block, orders: Sequence[np.ndarray], text: Text) -> go.Figure:
    """One heatmap a branch, side by side on one scale; `orders` are the orders of the channels inside each branch."""
    found: list[Panel] = []
    for index, (branch, order) in enumerate(zip(block.branches, orders, strict=True), start=1):
        r = correlation.part(branch.start, branch.stop).r[np.ix_(order, order)]
        heat = _heatmap(r, order + branch.start, text, index == len(block.branches), SMALL)
        axes = HIDDEN | {"constrain": "domain"}
        title = colours.two_lines(text("{branch}: {n} channels", branch=branch.name, n=branch.stop - branch.start), text)  # for a telephone
        down = axes | {"autorange": "reversed", "scaleanchor": "x" if index == 1 else f"x{index}"}
        found.append(Panel([heat], title, axes, down, {"size": 14, "color": colours.branch(branch.name)}))
    return panels.figure(found, [1] * len(found), [1], (0.03, 0), 280, top=46)


@remembered
def distribution(parts: Mapping[str, Pairs], text: Text, by_chance: Mapping[str, Pairs] | None = None) -> go.Figure:
    """The distribution of r in several sets of pairs: the share of pairs in each bin of width 0.025; dotted what it is `by_chance`."""
    traces: list[Piece] = []
    middle, right_to_left = (BINS[:-1] + BINS[1:]) / 2, text.direction == "rtl"
    for name, found in {**parts, **(by_chance or {})}.items():
        pairs = found.pairs() if isinstance(found, Correlation) else found
        if len(pairs) == 0:
            continue
        whole = name not in colours.BRANCH  # all pairs, or a null: what is to be compared first
        traces.append({
            "type": "scatter", "x": middle, "y": np.histogram(pairs, BINS)[0] / len(pairs), "mode": "lines",
            "name": text("{name} (n = {n} pairs)", name=name, n=len(pairs)), "hovertemplate": "r = %{x:.2f}: %{y:.1%}<extra></extra>",
            "line": {"color": colours.branch(name), "width": 3 if whole else 1.3, "shape": "hvh", "dash": "solid" if name in parts else "dot"},
        })  # fmt: skip
    x = {"title": {"text": "r"}, "range": [-1, 1], "zeroline": True}
    figure = panels.figure([Panel(traces, "", x, {"tickformat": ".0%", "rangemode": "tozero"})], [1], [1], (0, 0), 400)
    colours.title_rows(figure, text("share of pairs"), right_to_left)
    return figure
