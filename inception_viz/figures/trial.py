"""The trial of topologies: paired differences with their intervals."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from inception_viz.figures import colours
from inception_viz.text import Text, message
from inception_viz.trial import TOPOLOGIES, Interval, Line

AGAINST: Mapping[str, tuple[str, str, str]] = {  # of what, the field of a Line, colour, symbol
    message("minus hand-proportioned"): ("to_hand", colours.BRANCH["1x1"], "circle"),
    message("minus random widths"): ("to_random", colours.BRANCH["3x3"], "diamond"),
}


def differences(lines: Sequence[Line], text: Text) -> go.Figure:
    """How much better each topology is than hand-proportioned and than random widths, in percentage points, with 95% intervals over paired seeds."""
    names = [text(TOPOLOGIES[line.topology]) for line in lines]
    figure = go.Figure()
    figure.add_vline(x=0, line={"color": colours.NEUTRAL, "width": 1})
    for offset, (words, (field, colour, symbol)) in zip((-0.14, 0.14), AGAINST.items(), strict=True):
        found: list[Interval] = [getattr(line, field) for line in lines]
        figure.add_scatter(
            x=[100 * i.mean for i in found], y=[row + offset for row in range(len(names))], mode="markers", name=text(words), customdata=names,
            marker={"color": colour, "size": 10, "symbol": symbol},
            error_x={"type": "data", "symmetric": False, "array": [100 * (i.high - i.mean) for i in found],
                     "arrayminus": [100 * (i.mean - i.low) for i in found], "color": colour, "thickness": 2, "width": 5},
            hovertemplate="%{customdata}: %{x:+.1f}<extra>" + text(words) + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title=text("percentage points of accuracy"), zeroline=False)
    colours.plain(figure, 120 + 44 * len(names))
    colours.name_rows(figure, names, text.direction == "rtl")
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, showgrid=True)
    return figure
