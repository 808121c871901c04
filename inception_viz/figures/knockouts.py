"""Clusters taken out or kept alone beside their matched random sets, and what two of them do together."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from inception_viz.figures import colours
from inception_viz.knockouts import Interactions, Trial
from inception_viz.nulls import LEVEL
from inception_viz.text import Text, message


def against_controls(trials: Sequence[Trial], unit: str, text: Text, whole: float | None = None) -> go.Figure:
    """A row a cluster: its value as a diamond, its random sets' as grey dots; dashed the value when the `whole` block goes."""
    names = [text("cluster {n}", n=k + 1) for k in range(len(trials))]
    figure = go.Figure()
    rows = [name for name, trial in zip(names, trials, strict=True) for _ in trial.controls]
    values = np.concatenate([trial.controls for trial in trials]) if trials else np.zeros(0)
    figure.add_scatter(
        x=values.astype(np.float32), y=rows, mode="markers", name=text("matched random sets"), marker={"color": colours.NEUTRAL, "size": 7, "opacity": 0.45},
        hovertemplate="%{x:+.3f}<extra></extra>",
    )  # fmt: skip
    hover = [text("cluster {n}: z = {z}, p = {p}", n=k + 1, z=f"{t.z:.1f}", p=f"{t.p:.3f}") for k, t in enumerate(trials)]
    for rare, name, fill in (
        (True, text("beyond chance"), colours.BRANCH["5x5"]),
        (False, text("not beyond chance"), colours.BRANCH["3x3"]),
    ):
        chosen = [k for k, trial in enumerate(trials) if (trial.p <= LEVEL) == rare]
        figure.add_scatter(
            x=[trials[k].value for k in chosen], y=[names[k] for k in chosen], mode="markers", name=name, hovertext=[hover[k] for k in chosen],
            hoverinfo="text", marker={"symbol": "diamond", "color": fill, "size": 13},
        )  # fmt: skip
    if whole is not None:
        line = {"color": colours.NEUTRAL, "dash": "dash", "width": 1.5}
        figure.add_vline(whole, line=line, annotation_text=text("whole block out"), annotation_position="top")
    figure.update_xaxes(title=unit, zeroline=True, zerolinewidth=2)
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    colours.plain(figure, 150 + 26 * len(names), top=34)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


def pairs(found: Interactions, text: Text) -> go.Figure:
    """What two clusters out together do beyond each alone, as a heatmap in logits; a star where p is at most LEVEL."""
    names = [text("cluster {n}", n=k + 1) for k in range(len(found.joint))]
    most = float(np.nanmax(np.abs(found.joint), initial=0)) or 1.0
    words = message("clusters {a} and {b}: {value} logits, p = {p}")
    told = [
        ["" if np.isnan(v) else f"{v:+.2f}{' ★' if p <= LEVEL else ''}" for v, p in zip(*row, strict=True)]
        for row in zip(found.joint, found.p, strict=True)
    ]
    hover = [
        ["" if i == j else text(words, a=i + 1, b=j + 1, value=f"{v:+.3f}", p=f"{found.p[i, j]:.3f}") for j, v in enumerate(row)]
        for i, row in enumerate(found.joint)
    ]
    heat = go.Heatmap(
        z=found.joint.astype(np.float32), x=names, y=names, text=told, texttemplate="%{text}", hovertext=hover, hoverinfo="text", hoverongaps=False,
        colorscale=colours.DIVERGING, zmin=-most, zmax=most, xgap=2, ygap=2, colorbar={"title": {"text": text("logits")}, "thickness": 12},
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(side="top", type="category")
    colours.plain(figure, 120 + 34 * len(names), top=70)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure
