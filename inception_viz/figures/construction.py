"""From correlations to a block: how far each cluster reaches, and the six widths that follow."""

from collections.abc import Mapping

import plotly.graph_objects as go

from inception_viz.construction import KERNELS, Reach
from inception_viz.figures import colours
from inception_viz.tables import WIDTHS, Block
from inception_viz.text import Text, message

NAMES: Mapping[str, tuple[str, str]] = {  # the words for each width, and the branch whose colour it has
    "one": (message("1x1"), "1x1"),
    "reduce_three": (message("reduce 3x3"), "3x3"),
    "three": (message("3x3"), "3x3"),
    "reduce_five": (message("reduce 5x5"), "5x5"),
    "five": (message("5x5"), "5x5"),
    "pool": (message("pool projection"), "pool"),
}
PATTERNS = ("", "/", ".")


def reach(found: Reach, text: Text) -> go.Figure:
    """What a 1x1, a 3x3 and a 5x5 have to cover of each cluster, as shares of its correlation, the largest cluster first."""
    names = [text("cluster {n}", n=k + 1) for k in range(len(found.sizes))]
    figure = go.Figure()
    for index, kernel in enumerate(KERNELS):
        hover = "%{y} · " + text.isolated(kernel) + ": %{x:.0%} (r1 = %{customdata[0]:.2f}, r2 = %{customdata[1]:.2f})<extra></extra>"
        figure.add_bar(
            y=names, x=found.shares[:, index], name=kernel, orientation="h", marker_color=colours.branch(kernel),
            customdata=found.r[:, [1, 2]], hovertemplate=hover,
        )  # fmt: skip
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(title=text("share of the correlation"), tickformat=".0%", range=[0, 1])
    colours.plain(figure, 110 + 26 * len(names))
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


def widths(blocks: Mapping[str, Block], text: Text) -> go.Figure:
    """The six widths of several blocks beside each other; each width has its branch's colour, each block its hatching."""
    names = [text.isolated(text(NAMES[width][0])) for width in WIDTHS]
    figure = go.Figure()
    for pattern, (name, block) in zip(PATTERNS, blocks.items(), strict=False):
        hatching = {"shape": pattern, "fgcolor": colours.NEUTRAL, "fillmode": "overlay", "size": 6}
        figure.add_bar(
            x=names, y=[getattr(block, width) for width in WIDTHS], name=name, text=[getattr(block, width) for width in WIDTHS], cliponaxis=False,
            marker={"color": [colours.branch(NAMES[width][1]) for width in WIDTHS], "pattern": hatching},
            textposition="outside", hovertemplate="%{x}: %{y}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="group", showlegend=True)
    colours.plain(figure, 380)
    colours.title_rows(figure, text("channels"), text.direction == "rtl")
    return figure
