"""What clusters and branches give to the target, as signed bars."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.analysis import Prediction
from inception_viz.figures import colours
from inception_viz.text import Text


def predictions(found: Sequence[Prediction], text: Text) -> go.Figure:
    """The likeliest classes with their probabilities, likeliest on top."""
    names = [p.names[text.language] for p in found]
    values = np.array([p.probability for p in found], np.float32)
    bar = go.Bar(
        x=values, y=names, orientation="h", marker_color=colours.BRANCH["1x1"], texttemplate="%{x:.1%}", textposition="outside",
        hovertemplate="%{y}: %{x:.2%}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    figure = go.Figure(bar)
    figure.update_xaxes(visible=False, range=[0, max(0.02, float(values.max()) * 1.15)])
    colours.plain(figure, 340)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


def bars(
    values: Sequence[float] | np.ndarray, names: Sequence[str], title: str, text: Text, fills: Sequence[str] | None = None
) -> go.Figure:
    """One bar a name, in units of the target's logit; coloured by sign unless `fills` are given."""
    fills = fills or [colours.POSITIVE if v >= 0 else colours.NEGATIVE for v in values]
    figure = go.Figure(
        go.Bar(
            x=np.asarray(values, np.float32), y=list(names), orientation="h", marker_color=list(fills), texttemplate="%{x:+.2f}", textposition="outside",
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>", cliponaxis=False,
        )
    )  # fmt: skip
    low, high = min(0.0, float(np.min(values))), max(0.0, float(np.max(values)))
    room = 0.18 * (high - low or 1.0)  # for the numbers at the ends of the bars
    figure.update_xaxes(title=text("given to the target (logits)"), zeroline=True, zerolinewidth=2, range=[low - room, high + room])
    colours.plain(figure, 120 + 26 * len(names), title, text.direction == "rtl")
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure
