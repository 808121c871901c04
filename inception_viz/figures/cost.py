"""How parameters, multiply-accumulates and measured time grow, and what they are for blocks and whole networks, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from inception_viz.cost import Cost, Growth, Point
from inception_viz.figures import colours
from inception_viz.text import Text

PARAMETERS, MACS, TIME = colours.BRANCH["pool"], colours.BRANCH["1x1"], colours.BRANCH["3x3"]
SPREAD = "#9aa4af"  # seen on both grounds and on the bars
ROW = 26
STANDING = 74  # pixels below a figure for names that stand upright on a telephone, which plotly does not measure on a right-to-left page


def _spread(points: Sequence[Point], unit: float) -> dict:
    """From the fastest to the slowest run, as plotly's error bars; `unit` is how many seconds 1 is."""
    middle = np.array([p.timing.median for p in points])
    above = np.array([p.timing.high for p in points]) - middle
    below = middle - np.array([p.timing.low for p in points])
    return {"type": "data", "array": above / unit, "arrayminus": below / unit, "thickness": 1.5, "width": 3, "color": SPREAD}


def growth(points: Sequence[Point], grew: Growth, size: str, text: Text) -> go.Figure:
    """Each as a multiple of what the smallest size takes, on logarithmic axes, with the power of the size that fits it; `size` names the axis."""
    sizes = [p.size for p in points]
    lines = (
        (
            text.isolated(text("parameters, power {power}", power=f"{grew.parameters:.2f}")),
            [p.cost.parameters for p in points],
            PARAMETERS,
            "dot",
        ),
        (text.isolated(text("multiply-accumulates, power {power}", power=f"{grew.macs:.2f}")), [p.cost.macs for p in points], MACS, "dash"),
        (
            text.isolated(text("measured time, power {power}", power=f"{grew.seconds:.2f}")),
            [p.timing.median for p in points],
            TIME,
            "solid",
        ),
    )
    figure = go.Figure()
    for name, values, colour, dash in lines:
        times = np.asarray(values, np.float64) / values[0]
        measured = {"error_y": _spread(points, points[0].timing.median)} if dash == "solid" else {}
        figure.add_scatter(
            x=sizes, y=times, name=name, mode="lines+markers", line={"color": colour, "dash": dash, "width": 2}, marker={"size": 7},
            hovertemplate="%{x}: x %{y:.2f}<extra></extra>", **measured,
        )  # fmt: skip
    figure.update_xaxes(type="log", title=size, tickvals=sizes, ticktext=[f"{s:g}" for s in sizes])
    figure.update_yaxes(type="log", dtick=1)
    colours.plain(figure, 400, top=30)
    colours.title_rows(figure, text("times the smallest"), text.direction == "rtl")
    return figure


def stages(points: Sequence[Point], text: Text) -> go.Figure:
    """How much of the whole network's parameters, multiply-accumulates and time is reached at the end of each stage."""
    names, whole = [colours.two_lines(text(p.name), text) for p in points], points[-1]
    lines = (
        (text("Parameters"), [p.cost.parameters / whole.cost.parameters for p in points], PARAMETERS, "dot"),
        (text("Multiply-accumulates"), [p.cost.macs / whole.cost.macs for p in points], MACS, "dash"),
        (text("Measured time"), [p.timing.median / whole.timing.median for p in points], TIME, "solid"),
    )
    figure = go.Figure()
    for name, values, colour, dash in lines:
        measured = {"error_y": _spread(points, whole.timing.median)} if dash == "solid" else {}
        figure.add_scatter(
            x=names, y=values, name=name, mode="lines+markers", line={"color": colour, "dash": dash, "width": 2}, marker={"size": 7},
            hovertemplate="%{x}: %{y:.1%}<extra></extra>", **measured,
        )  # fmt: skip
    figure.update_xaxes(type="category", title=text("as far as the end of"), automargin=text.direction != "rtl")
    top = max(max(values) for _, values, *_ in lines)  # one slow run reaches out of the figure rather than flattening it
    figure.update_yaxes(tickformat=".0%", range=[0, 1.5 * top])
    colours.plain(figure, 420, top=30)
    if text.direction == "rtl":
        figure.update_layout(margin_b=STANDING + 30)
        figure.update_xaxes(title_standoff=STANDING)
    colours.title_rows(figure, text("share of the whole network"), text.direction == "rtl")
    return figure


def networks(found: Sequence[tuple[Point, int]], text: Text) -> go.Figure:
    """Parameters, multiply-accumulates, time and receptive field of whole networks, two beside each other, so that they fit on a telephone."""
    points, names = [p for p, _ in found], [p.name for p, _ in found]
    columns: tuple[tuple[str, list[float], str, str], ...] = (
        (text("parameters, million"), [p.cost.parameters / 1e6 for p in points], PARAMETERS, ".1f"),
        (text("MACs, billion"), [p.cost.macs / 1e9 for p in points], MACS, ".2f"),
        (text("time, milliseconds"), [p.timing.median * 1e3 for p in points], TIME, ".0f"),
        (text("receptive field, pixels"), [float(field) for _, field in found], colours.BRANCH["5x5"], ".0f"),
    )
    titles = [title for title, *_ in columns]
    broken = [colours.two_lines(title, text) for title in titles]
    figure = make_subplots(2, 2, shared_yaxes=True, subplot_titles=broken, horizontal_spacing=0.06, vertical_spacing=0.14)
    for place, (_, values, colour, shown) in enumerate(columns):
        cell = {"row": 1 + place // 2, "col": 1 + place % 2}
        ends = [p.timing.high * 1e3 for p in points] if colour == TIME else values
        spread = {"error_x": _spread(points, 1e-3)} if colour == TIME else {}
        hover = "%{y}: %{x}<extra></extra>"
        figure.add_bar(x=values, y=names, orientation="h", marker_color=colour, width=0.6, hovertemplate=hover, **cell, **spread)
        figure.add_scatter(  # behind the slowest run, where no line crosses the number
            x=ends, y=names, mode="text", text=[f"\u00a0{v:{shown}}" for v in values], textposition="middle right", cliponaxis=False,
            hoverinfo="skip", **cell,
        )  # fmt: skip
        figure.update_xaxes(range=[0, 1.75 * max(ends)], **cell)
    figure.update_xaxes(showticklabels=False, showgrid=False)
    figure.update_layout(showlegend=False)
    figure.update_annotations(font_size=13)
    colours.plain(figure, 130 + 3 * ROW * len(names), top=46)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure


def blocks(pairs: Mapping[str, tuple[Point, Point]], text: Text) -> go.Figure:
    """Multiply-accumulates (above) and time (below) of each block with 1x1 reductions and naive; over the bars how many times as much the naive one takes."""
    names = list(pairs)
    titles = [text("multiply-accumulates, million"), text("time, milliseconds")]
    figure = make_subplots(2, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.16)
    for kind, (label, colour) in enumerate(((text.isolated(text("with 1x1 reductions")), MACS), (text("naive"), TIME))):
        points = [pair[kind] for pair in pairs.values()]
        rows: tuple[tuple[list[float], list[float], dict], ...] = (
            ([p.cost.macs / 1e6 for p in points], [p.cost.macs / 1e6 for p in points], {}),
            ([p.timing.median * 1e3 for p in points], [p.timing.high * 1e3 for p in points], {"error_y": _spread(points, 1e-3)}),
        )
        for row, (values, _, spread) in enumerate(rows, start=1):
            figure.add_bar(
                x=names, y=values, name=label, offsetgroup=label, legendgroup=label, showlegend=row == 1, marker_color=colour,
                hovertemplate="%{x}: %{y:.3g}<extra></extra>", row=row, col=1, **spread,
            )  # fmt: skip
        if kind:
            _times(figure, pairs, [high for _, high, _ in rows], label)
    figure.update_layout(barmode="group", scattermode="group")
    figure.update_xaxes(type="category")
    return colours.titled(figure, titles, 520, text.direction == "rtl")


def _times(figure: go.Figure, pairs: Mapping[str, tuple[Point, Point]], tops: Sequence[Sequence[float]], group: str) -> None:
    """Over the naive bars how many times as much they are, above the slowest run."""
    ratios = (
        [naive.cost.macs / reduced.cost.macs for reduced, naive in pairs.values()],
        [naive.timing.median / reduced.timing.median for reduced, naive in pairs.values()],
    )
    for row, (times, top) in enumerate(zip(ratios, tops, strict=True), start=1):
        figure.add_scatter(
            x=list(pairs), y=top, mode="text", text=[f"x {t:.1f}" for t in times], textposition="top center", offsetgroup=group,
            showlegend=False, hoverinfo="skip", cliponaxis=False, row=row, col=1,
        )  # fmt: skip


def branches(reduced: Mapping[str, Cost], naive: Mapping[str, Cost], text: Text) -> go.Figure:
    """Multiply-accumulates of a block by branch, with 1x1 reductions and naive, million."""
    names = [text.isolated(text("with 1x1 reductions")), text("naive")]
    figure = go.Figure()
    for branch in reduced:
        values = np.array([costs[branch].macs / 1e6 for costs in (reduced, naive)], np.float64)
        hover = text.isolated(branch) + ": %{x:.1f}<extra></extra>"
        figure.add_bar(x=values, y=names, name=branch, orientation="h", marker_color=colours.branch(branch), hovertemplate=hover)
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(title=text("multiply-accumulates, million"))
    colours.plain(figure, 190, top=30)
    colours.name_rows(figure, names, text.direction == "rtl")
    return figure
