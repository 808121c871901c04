"""How much more channels of one branch correlate than across branches, block by block, beside what chance gives."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.coincidence import Coincidence
from inception_viz.figures import colours
from inception_viz.text import Text


def gaps(found: Sequence[Coincidence], text: Text) -> go.Figure:
    """Per block: the loaded network's gap, those of untrained twins (a dot each), and the middle 95% of shuffled labels as a bar."""
    names = [c.block for c in found]
    figure = go.Figure()
    low, high = np.array([c.middle for c in found]).T
    figure.add_bar(
        x=names, y=np.subtract(high, low), base=low, name=text.isolated(text("shuffled labels, middle 95%")), marker_color=colours.NEUTRAL,
        opacity=0.45, width=0.6, hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=[c.block for c in found for _ in c.twins], y=np.concatenate([c.twins for c in found]), mode="markers", name=text("untrained twins"),
        marker={"color": colours.NEGATIVE, "size": 7, "symbol": "line-ew-open", "line": {"width": 2}}, hovertemplate="%{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=names, y=[c.gap for c in found], mode="markers", name=text("the loaded network"), marker={"color": colours.POSITIVE, "size": 12, "symbol": "diamond"},
        hovertemplate="%{x}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_hline(0, line={"color": colours.NEUTRAL, "width": 1})
    figure.update_xaxes(type="category", title=text("block"))
    colours.plain(figure, 440, top=30)
    colours.title_rows(figure, text.isolated(text("mean |r| inside less across")), text.direction == "rtl")
    return figure
