"""Curves of training and testing, and the gap between them against parameters or labels, each over several seeds with its 95% interval."""

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.figures import colours
from inception_viz.overfitting import Run, Study, interval
from inception_viz.text import Text

OWN, OTHER, GAP = colours.BRANCH["1x1"], colours.BRANCH["3x3"], colours.BRANCH["pool"]
TICKS = (0, 1, 3, 10, 30, 100, 300, 1000)


def _band(x: np.ndarray, ends: np.ndarray, colour: str, row: int) -> list[go.Scatter]:
    """The interval around a line, `ends` (2, points)."""
    edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return [
        go.Scatter(x=x, y=ends[0], **edge),
        go.Scatter(x=x, y=ends[1], fill="tonexty", fillcolor=f"rgba({red},{green},{blue},0.2)", **edge),
    ]


def curves(runs: Sequence[Run], text: Text) -> go.Figure:
    """Accuracy (above) and loss (below) on the network's own pictures and on others, over the steps of training: mean over the seeds, and 95% interval."""
    titles = [text("accuracy"), text("loss (cross-entropy, nats)")]
    figure = make_subplots(2, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.1)
    steps = runs[0].steps + 1  # 0 has no logarithm
    for row, (own, other) in enumerate((("own_accuracy", "other_accuracy"), ("own_loss", "other_loss")), start=1):
        for name, of, colour in ((text("on its own pictures"), own, OWN), (text("on other pictures"), other, OTHER)):
            found = np.array([interval(values) for values in np.array([getattr(run, of) for run in runs]).T]).T  # (3, steps)
            for trace in _band(steps, found[1:], colour, row):
                figure.add_trace(trace, row, 1)
            line = {"color": colour, "width": 2}
            hover = "%{x}: %{y:.3f}<extra></extra>"
            figure.add_scatter(
                x=steps, y=found[0], name=name, line=line, hovertemplate=hover, legendgroup=of[:3], showlegend=row == 1, row=row, col=1
            )
    shown = [step for step in TICKS if step <= runs[0].steps[-1]]
    figure.update_xaxes(type="log", tickvals=[step + 1 for step in shown], ticktext=[str(step) for step in shown])
    figure.update_xaxes(title=text("steps of training"), row=2)
    figure.update_yaxes(tickformat=".0%", row=1)
    figure.update_yaxes(rangemode="tozero")
    return colours.titled(figure, titles, 560, text.direction == "rtl")


def against(found: Study, size: Callable[[Run], int], title: str, text: Text) -> go.Figure:
    """Accuracy on both kinds of pictures (above) and the gap between them (below) against a size of the runs: mean and 95% interval over the seeds."""
    sizes = sorted({size(run) for run in found.runs})
    groups = [[run for run in found.runs if size(run) == one] for one in sizes]
    titles = [text("accuracy"), text("gap, points")]
    figure = make_subplots(2, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.1)
    lines = (
        (text("on its own pictures"), lambda run: run.own_accuracy[-1], OWN, 1),
        (text("on other pictures"), lambda run: run.other_accuracy[-1], OTHER, 1),
        (text("gap"), lambda run: 100 * run.gap, GAP, 2),
    )
    for name, of, colour, row in lines:
        mean, low, high = np.array([interval([of(run) for run in group]) for group in groups]).T
        spread = {"type": "data", "array": high - mean, "arrayminus": mean - low, "thickness": 1.5, "width": 4}
        figure.add_scatter(
            x=sizes, y=mean, name=name, mode="lines+markers", line={"color": colour, "width": 2}, marker={"size": 7}, error_y=spread,
            hovertemplate="%{x}: %{y:.3g}<extra></extra>", row=row, col=1,
        )  # fmt: skip
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[f"{s:,}" for s in sizes])
    figure.update_xaxes(title=title, row=2)
    figure.update_yaxes(tickformat=".0%", row=1)
    figure.update_yaxes(rangemode="tozero", row=2)
    return colours.titled(figure, titles, 560, text.direction == "rtl")


def by_parameters(found: Study, text: Text) -> go.Figure:
    """`against` the number of parameters."""
    return against(found, lambda run: run.parameters, text("parameters"), text)


def by_labels(found: Study, text: Text) -> go.Figure:
    """`against` the number of labels."""
    return against(found, lambda run: run.labels, text("labels"), text)
