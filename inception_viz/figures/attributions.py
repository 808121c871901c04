"""What clusters and branches give to the target, as signed bars."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.analysis import Prediction
from inception_viz.architecture import Block
from inception_viz.attributions import Attribution, Faithfulness
from inception_viz.figures import colours, remembered
from inception_viz.text import Text


@remembered
def predictions(found: Sequence[Prediction], text: Text) -> go.Figure:
    """The likeliest classes with their probabilities, likeliest on top."""
    names = [p.names[text.language] for p in found]
    values = np.array([p.probability for p in found], np.float32)
    bar = go.Bar(
        x=values, y=names, orientation="h", marker_color=colours.BRANCH["1x1"], texttemplate="%{x:.1%}", textposition="outside",
        hovertemplate="%{y}: %{x:.2%}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    figure = go.Figure(bar)
    figure.update_xaxes(visible=False, range=[0, max(0.02, float(values.max()) * 1.3)])
    colours.plain(figure, 340)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


@remembered
def bars(
    values: Sequence[float] | np.ndarray, names: Sequence[str], title: str, text: Text, fills: Sequence[str] | None = None
) -> go.Figure:
    """One bar a name, in units of the target's logit; coloured by sign unless `fills` are given."""
    fills = fills or [colours.POSITIVE if v >= 0 else colours.NEGATIVE for v in values]
    bar = {
        "type": "bar", "x": np.asarray(values, np.float32), "y": list(names), "orientation": "h", "marker": {"color": list(fills)},
        "texttemplate": "%{x:+.2f}", "textposition": "outside", "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>", "cliponaxis": False,
    }  # fmt: skip
    low, high = min(0.0, float(np.min(values))), max(0.0, float(np.max(values)))
    room = 0.18 * (high - low or 1.0)  # for the numbers at the ends of the bars
    axis = {
        "title": {"text": text("given to the target (logits)")},
        "zeroline": True,
        "zerolinewidth": 2,
        "range": [low - room, high + room],
    }
    layout = colours.manner(120 + 26 * len(names), title, text.direction == "rtl") | {"xaxis": axis}
    figure = go.Figure({"data": [bar], "layout": layout}, _validate=False)  # as in `panels`
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


@remembered
def over_blocks(given: Mapping[str, Attribution], blocks: Mapping[str, Block], text: Text) -> go.Figure:
    """What each branch of every block gives to the target, one column a block, branches stacked to both sides of zero."""
    sums = {name: dict(zip((b.name for b in blocks[name].branches), a.by_branch(blocks[name]), strict=True)) for name, a in given.items()}
    figure = go.Figure()
    for branch in dict.fromkeys(name for by_branch in sums.values() for name in by_branch):
        values = np.array([by_branch.get(branch, 0.0) for by_branch in sums.values()], np.float32)
        hover = "%{x} · " + text.isolated(branch) + ": %{y:+.3f}<extra></extra>"
        figure.add_bar(x=list(sums), y=values, name=branch, marker_color=colours.branch(branch), hovertemplate=hover)
    figure.update_layout(barmode="relative")
    figure.update_xaxes(type="category")
    figure.update_yaxes(zeroline=True, zerolinewidth=2)
    colours.plain(figure, 340)
    colours.title_rows(figure, text("given to the target (logits)"), text.direction == "rtl")
    return figure


@remembered
def curves(found: Faithfulness, text: Text) -> go.Figure:
    """The target while the most important goes first (deletion) and comes back first (insertion); dotted the mean of random orders."""
    figure = go.Figure()
    shown = (
        (text("deletion"), found.deletion, colours.BRANCH["3x3"], "solid"),
        (text("insertion"), found.insertion, colours.BRANCH["1x1"], "solid"),
        (text("deletion, random orders"), found.chance_deletion, colours.BRANCH["3x3"], "dot"),
        (text("insertion, random orders"), found.chance_insertion, colours.BRANCH["1x1"], "dot"),
    )
    for name, curve, colour, dash in shown:
        figure.add_scatter(
            x=curve.share.astype(np.float32), y=curve.values.astype(np.float32), name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{x:.0%}: %{y:+.2f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=text("share that has gone, or come back"), tickformat=".0%")
    colours.plain(figure, 360)
    colours.title_rows(figure, text("target (logits)"), text.direction == "rtl")
    return figure
