"""Statistics over many pictures: how the branches of neighbouring blocks correlate, and which channels tell the classes apart."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.stats import beta

from inception_viz.architecture import Block
from inception_viz.figures import colours
from inception_viz.figures.correlations import BINS, reduced
from inception_viz.text import Text

TOP = 20


def between(r: np.ndarray, a: Block, b: Block, text: Text) -> go.Figure:
    """r between the channels of two neighbouring blocks, `(A, B)`, in the order of their branches, with lines where a branch ends."""
    step = max(1, -(-max(r.shape) // 256))
    cells = reduced_oblong(r, step)
    down, across = np.arange(0, r.shape[0], step, dtype=np.int32), np.arange(0, r.shape[1], step, dtype=np.int32)
    hover = text("channel {a} of {block} and channel {b} of {next}: r = {r}", a="%{y}", b="%{x}", r="%{z:.2f}", block=a.name, next=b.name)
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=across, y=down, zmin=-1, zmax=1, colorscale=colours.DIVERGING, colorbar={"title": {"text": "r"}, "thickness": 12},
            hovertemplate=hover + "<extra></extra>", hoverongaps=False,
        )
    )  # fmt: skip
    for branch in a.branches[1:]:
        figure.add_hline(branch.start - step / 2, line={"color": colours.NEUTRAL, "width": 1})
    for branch in b.branches[1:]:
        figure.add_vline(branch.start - step / 2, line={"color": colours.NEUTRAL, "width": 1})
    _branch_ticks(figure, a, b)
    colours.plain(figure, 520)
    figure.update_xaxes(title=text("block {name}", name=b.name))
    colours.title_rows(figure, text("block {name}", name=a.name), text.direction == "rtl")
    figure.update_yaxes(autorange="reversed")
    return figure


def reduced_oblong(r: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` x `step` cells that are not nan, as `correlations.reduced` takes them, of a matrix that need not be square."""
    side = -(-max(r.shape) // step) * step
    square = np.full((side, side), np.nan, np.float32)
    square[: r.shape[0], : r.shape[1]] = r
    return reduced(square, side // step)[0][: -(-r.shape[0] // step), : -(-r.shape[1] // step)]


def _branch_ticks(figure: go.Figure, a: Block, b: Block) -> None:
    for update, block in ((figure.update_yaxes, a), (figure.update_xaxes, b)):
        update(tickvals=[(c.start + c.stop) / 2 for c in block.branches], ticktext=[c.name for c in block.branches], showgrid=False)


def branch_table(means: np.ndarray, rows: Sequence[str], columns: Sequence[str], text: Text) -> go.Figure:
    """Mean |r| of branches against branches, `(rows, columns)`, as a small table of coloured cells."""
    told = np.where(np.isnan(means), "", np.char.mod("%.3f", means))
    figure = go.Figure(
        go.Heatmap(
            z=means.astype(np.float32), x=list(columns), y=list(rows), colorscale=colours.SEQUENTIAL, zmin=0, text=told, texttemplate="%{text}",
            colorbar={"thickness": 12}, hovertemplate="%{y} · %{x}: %{z:.3f}<extra></extra>", xgap=2, ygap=2,
        )
    )  # fmt: skip
    figure.update_xaxes(side="top", type="category", tickangle=-90)
    figure.update_yaxes(type="category")
    colours.plain(figure, 160 + 42 * len(rows), top=90)
    colours.name_rows(figure, rows, text.direction == "rtl")
    return figure


def distribution(parts: Mapping[str, np.ndarray], n: int, text: Text) -> go.Figure:
    """The share of pairs in each bin of r, for several sets of pairs; dotted what unrelated normal numbers give over `n` samples."""
    figure = go.Figure()
    middle = (BINS[:-1] + BINS[1:]) / 2
    hover = "r = %{x:.2f}: %{y:.1%}<extra></extra>"
    for name, pairs in parts.items():
        if len(pairs):
            label = text("{name} (n = {n} pairs)", name=name, n=len(pairs))
            line = {"color": colours.branch(name), "width": 2, "shape": "hvh"}
            figure.add_scatter(
                x=middle, y=np.histogram(pairs, BINS)[0] / len(pairs), name=label, mode="lines", line=line, hovertemplate=hover
            )
    if n > 3:
        half = (n - 2) / 2  # r of unrelated normal samples: (r + 1) / 2 is beta distributed (Fisher 1915)
        share = np.diff(beta.cdf((BINS + 1) / 2, half, half))
        line = {"color": colours.NEUTRAL, "width": 2, "dash": "dot", "shape": "hvh"}
        figure.add_scatter(x=middle, y=share, name=text("chance, n = {n}", n=n), mode="lines", line=line, hovertemplate=hover)
    figure.update_xaxes(title="r", range=[-1, 1], zeroline=True)
    figure.update_yaxes(tickformat=".1~%", rangemode="tozero")
    colours.plain(figure, 360)
    colours.title_rows(figure, text("share of pairs"), text.direction == "rtl")
    return figure


def classes(share: np.ndarray, chance: float, block: Block, names: Sequence[str], text: Text) -> go.Figure:
    """The channels whose variance lies most between classes, as bars in their branches' colours; `names` (C,) is each one's strongest class."""
    known = np.flatnonzero(~np.isnan(share))
    top = known[np.argsort(-share[known], kind="stable")[:TOP]]
    labels = [text("channel {n}: {name}", n=int(c), name=names[c]) for c in top]
    figure = go.Figure(
        go.Bar(
            x=share[top].astype(np.float32), y=labels, orientation="h", hovertemplate="%{y}: %{x:.1%}<extra></extra>",
            marker_color=[colours.branch(block.branches[block.branch_of[c]].name) for c in top],
        )
    )  # fmt: skip
    figure.add_vline(chance, line={"color": colours.NEUTRAL, "dash": "dot", "width": 2})
    title = text("share of the variance over pictures that lies between classes; dotted: by chance")
    figure.update_xaxes(title=colours.two_lines(title, text), tickformat=".0%")
    colours.plain(figure, 110 + 22 * len(top))
    colours.name_rows(figure, labels, text.direction == "rtl")
    return figure


def class_means(means: np.ndarray, rows: Sequence[str], columns: Sequence[str], text: Text) -> go.Figure:
    """What groups of channels answer to each class: `means` (classes, groups), in standard deviations over all pictures."""
    top = float(np.nanmax(np.abs(means), initial=1e-9))
    figure = go.Figure(
        go.Heatmap(
            z=means.astype(np.float32), x=list(columns), y=list(rows), zmin=-top, zmax=top, colorscale=colours.DIVERGING, xgap=1, ygap=1,
            colorbar={"thickness": 12}, hovertemplate="%{y} · %{x}: %{z:+.2f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(side="top", type="category", tickangle=-90)
    figure.update_yaxes(type="category")
    colours.plain(figure, 150 + 20 * len(rows), top=80)
    colours.name_rows(figure, rows, text.direction == "rtl")
    return figure
