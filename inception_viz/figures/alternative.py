"""What a figure shows, in words, for those who can't see it."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from inception_viz.text import Text, message

KINDS = {
    "bar": message("bar chart"),
    "heatmap": message("heat map"),
    "image": message("picture"),
    "scatter": message("line or point chart"),
    "sankey": message("flow chart"),
}
MOST_BARS, MOST_NAMES = 12, 8


def _plain(words: str | None) -> str:
    return (words or "").replace("<br>", " ").replace("<b>", "").replace("</b>", "").strip()


def _bars(trace: go.Bar) -> str:
    names, values = (trace.y, trace.x) if trace.orientation == "h" else (trace.x, trace.y)
    if names is None or values is None or not 0 < len(values) <= MOST_BARS:
        return ""
    return ", ".join(f"{_plain(str(name))} {float(value):.3g}" for name, value in zip(names, values, strict=True) if np.isfinite(value))


def _parts(figure: go.Figure, text: Text) -> Iterator[str]:
    shown = [trace for trace in figure.data if trace.visible in (None, True)]
    if title := _plain(figure.layout.title.text):
        yield title
    kinds = dict.fromkeys(KINDS[trace.type] for trace in shown if trace.type in KINDS)
    yield ", ".join(text(kind) for kind in kinds)
    for words, axes in ((message("across: {axis}"), figure.select_xaxes()), (message("upwards: {axis}"), figure.select_yaxes())):
        if told := next(filter(None, (_plain(axis.title.text) for axis in axes)), ""):
            yield text(words, axis=told)
    names = [_plain(trace.name) for trace in shown if trace.name and trace.showlegend is not False]
    if names:
        yield text("shown: {names}", names=", ".join(names[:MOST_NAMES]))
    bars = [told for trace in shown if trace.type == "bar" and (told := _bars(trace))]
    if len(bars) == 1:
        yield bars[0]


def describe(figure: go.Figure, text: Text) -> str:
    """Title, kind, axes and names of a figure, and the values of a short bar chart: what a screen reader says in its place."""
    return ". ".join(part for part in _parts(figure, text) if part)
