"""Costs as the engine measures them for the pages, a block to edit, and the numbers told beside the figures."""

import streamlit as st

from inception_viz import cost, networks
from inception_viz.cost import Point
from inception_viz.networks import GOOGLENET, Widths
from inception_viz.text import Text
from pages.shell import controls, lab, results


def by_width(text: Text, widest: int, depth: int) -> list[Point]:
    """Chains of seven widths."""
    used = results.model(text)
    key = ("cost", "width", str(used.device), widest, depth, lab.times("width"))
    shapes = [(width, depth) for width in cost.widths_to(widest)]
    return results.compute(text, used, "cost", key, lambda progress: cost.measure_chains(shapes, used.device))


def by_depth(text: Text, width: int, deepest: int) -> list[Point]:
    """Chains of up to eight depths."""
    used = results.model(text)
    key = ("cost", "depth", str(used.device), width, deepest, lab.times("depth"))
    shapes = [(width, depth) for depth in cost.depths_to(deepest)]
    return results.compute(text, used, "cost", key, lambda progress: cost.measure_chains(shapes, used.device))


def by_factor(text: Text, factor: float) -> list[Point]:
    """The loaded network with all its widths times several factors, `factor` among them."""
    used = results.model(text)
    factors = sorted({*cost.FACTORS, factor})
    key = ("cost", "factor", used.architecture, used.classes, str(used.device), factor, lab.times("factor"))
    return results.compute(text, used, "cost", key, lambda progress: cost.measure_factors(used, factors))


def by_stage(text: Text) -> list[Point]:
    """The loaded network as far as each of its blocks."""
    used = results.model(text)
    key = ("cost", "stages", used.key, str(used.device), lab.times("stages"))
    return results.compute(text, used, "cost", key, lambda progress: cost.measure_stages(used))


def of_networks(text: Text) -> list[tuple[Point, int]]:
    """Well-known networks, each with its receptive field."""
    used = results.model(text)
    key = ("cost", "networks", str(used.device), lab.times("networks"))
    return results.compute(text, used, "cost", key, lambda progress: cost.measure_networks(used.device))


def of_blocks(text: Text, blocks: dict[str, Widths], name: str, five: int) -> dict[str, tuple[Point, Point]]:
    """Blocks with 1x1 reductions and naive."""
    used = results.model(text)
    key = ("cost", "blocks", str(used.device), tuple(blocks.items()), five, lab.times(name))
    return results.compute(text, used, f"cost {name}", key, lambda progress: cost.measure_blocks(blocks, used.device, five))


def edited(text: Text, name: str) -> Widths:
    """A block whose six widths can be changed, beginning with those of the paper's block `name`."""
    paper = GOOGLENET[name]
    labels = {
        "one": "1x1",
        "reduce_three": text("3x3 reduce"),
        "three": "3x3",
        "reduce_five": text("5x5 reduce"),
        "five": "5x5",
        "pool": text("pool projection"),
    }
    found = {}
    for column, (width, label) in zip(st.columns(len(labels)), labels.items(), strict=True):
        with column:
            found[width] = controls.typed(f"width {name} {width}", label, 1, cost.WIDEST_BLOCK, getattr(paper, width), 8)
    st.caption(text("Each width from {low} to {high} channels; what lies outside is not taken.", low=1, high=cost.WIDEST_BLOCK))
    return Widths(paper.inputs, paper.side, **found)


def told(text: Text, point: Point, against: Point, outputs: int | None = None) -> None:
    """Parameters, multiply-accumulates and time of one point, how many times those of another, and the spread of both times."""
    numbers = {
        text("Parameters"): (f"{point.cost.parameters:,}", point.cost.parameters, against.cost.parameters),
        text("Multiply-accumulates"): (f"{point.cost.macs / 1e6:,.1f} M", point.cost.macs, against.cost.macs),
        text("Measured time"): (f"{1e3 * point.timing.median:.3g} ms", point.timing.median, against.timing.median),
    }
    places = st.columns(len(numbers) + (outputs is not None))
    for column, (label, (value, ours, theirs)) in zip(places, numbers.items(), strict=False):
        column.metric(label, text.isolated(value), text.isolated(f"x {ours / theirs:.2f}"), "off", delta_arrow="off")
    if outputs is not None:
        places[-1].metric(text("Output channels"), str(outputs))
    own, compared = ([f"{1e3 * seconds:.3g}" for seconds in (t.median, t.low, t.high)] for t in (point.timing, against.timing))
    st.caption(
        text(
            "Time: {time} ms, from {low} to {high} over all runs; of what it is compared with {other} ms, from {other_low} to {other_high}.",
            time=own[0], low=own[1], high=own[2], other=compared[0], other_low=compared[1], other_high=compared[2],
        )
    )  # fmt: skip


def at(points: list[Point], size: float) -> Point:
    """The point of that size."""
    return next(point for point in points if point.size == size)


def names() -> dict[str, str]:
    """The paper's blocks, to choose from."""
    return {name: f"{name} · {w.inputs} → {w.outputs} · {w.side} x {w.side}" for name, w in networks.GOOGLENET.items()}


def each(pairs: dict[str, tuple[Point, Point]]) -> list[Point]:
    """The points of all pairs in a row."""
    return [point for pair in pairs.values() for point in pair]


def measured(found: list[tuple[Point, int]]) -> list[Point]:
    """The points without what stands beside them."""
    return [point for point, _ in found]


def measured_on(text: Text, points: list[Point], more: str = "") -> None:
    """Where and how the points were measured, and whether that was steady."""
    lab.measured_on(text, points[0].timing, more, cost.steady(points))
