"""What a figure shows, in words, for those who can't see it."""

from collections.abc import Iterator, Mapping

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


def _title(part: Mapping) -> str:
    return _plain(part.get("title", {}).get("text"))


def _parts(figure: go.Figure, text: Text) -> Iterator[str]:
    made = figure.to_dict()  # its own objects check at every look: ten times as slow
    layout, shown = made["layout"], [(i, trace) for i, trace in enumerate(made["data"]) if trace.get("visible") in (None, True)]
    if title := _title(layout):
        yield title
    kinds = dict.fromkeys(KINDS[trace["type"]] for _, trace in shown if trace["type"] in KINDS)
    yield ", ".join(text(kind) for kind in kinds)
    for words, axis in ((message("across: {axis}"), "xaxis"), (message("upwards: {axis}"), "yaxis")):
        if told := next(filter(None, (_title(part) for name, part in layout.items() if name.startswith(axis))), ""):
            yield text(words, axis=told)
    names = [_plain(trace["name"]) for _, trace in shown if trace.get("name") and trace.get("showlegend") is not False]
    if names:
        yield text("shown: {names}", names=", ".join(names[:MOST_NAMES]))
    bars = [told for i, trace in shown if trace["type"] == "bar" and (told := _bars(figure.data[i]))]
    if len(bars) == 1:
        yield bars[0]


def describe(figure: go.Figure, text: Text) -> str:
    """Title, kind, axes and names of a figure, and the values of a short bar chart: what a screen reader says in its place."""
    return ". ".join(part for part in _parts(figure, text) if part)
