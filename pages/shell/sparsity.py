"""Sparse products as the engine measures them for the pages."""

from collections.abc import Generator

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from inception_viz import dense_blocks, sparsity
from inception_viz.dense_blocks import Clustering, Gathered
from inception_viz.engine.local import Progress
from inception_viz.models import Model
from inception_viz.races import digits
from inception_viz.sparsity import BreakEven, Point, Shape
from inception_viz.text import Text
from pages.shell import controls, lab, results

OWN, LOADED = "own", "loaded"
ACROSS = 3  # numbers beside each other


def product(text: Text) -> list[Point]:
    """The chosen product in every format at every density."""
    used = results.model(text)
    shape, weights, name = _chosen(text, used)
    key = ("sparsity", str(used.device), name, shape, used.key if weights is not None else "", lab.again(text, "sparsity"))
    return results.compute(text, used, "sparsity", key, lambda progress: sparsity.measure(shape, used.device, weights=weights))


def _chosen(text: Text, used: Model) -> tuple[Shape, np.ndarray | None, str]:
    kinds = {
        LOADED: text("a layer of the loaded network"),
        "paper": text("a layer as wide as in the paper"),
        OWN: text("sizes of your own"),
    }
    left, right = st.columns(2)
    with left:
        kind = controls.choice("product", text("The product"), kinds)
    if kind == OWN:
        return _own(text), None, kind
    layers = sparsity.LAYERS if kind == "paper" else sparsity.layers(used)
    with right:
        name = controls.choice(f"layer {kind}", text("Layer"), {n: n for n in layers}, "4e 3x3")
    return layers[name], sparsity.layer_weights(used, name) if kind == LOADED else None, f"{kind} {name}"


def _own(text: Text) -> Shape:
    first, second, third = st.columns(3)
    with first:
        outputs = controls.number("outputs", text("Outputs"), 16, 4096, 512)
    with second:
        inputs = controls.number("inputs", text("Inputs"), 16, sparsity.LARGEST, 1024)
    with third:
        return Shape(outputs, inputs, controls.number("positions", text("Positions"), 1, 4096, 196))


def told(text: Text, even: list[BreakEven]) -> None:
    """The break-even density of each format, with its interval."""
    st.subheader(text("Break-even density"), anchor=False)
    for column, found in zip(_columns(len(even)), even, strict=True):
        interval = _interval(text, *(_density(text, d) for d in (found.low, found.high)))
        column.metric(text(found.format), _density(text, found.density), interval, "off", delta_arrow="off")


def _columns(count: int) -> list[DeltaGenerator]:
    """Places for so many numbers, a few beside each other."""
    return [column for start in range(0, count, ACROSS) for column in st.columns(ACROSS)[: count - start]]


def _interval(text: Text, low: str, high: str) -> str | None:
    """Both ends of an interval; nothing where they are the same."""
    return None if low == high else text("{low} to {high}", low=low, high=high)


def _density(text: Text, density: float) -> str:
    if density == 0:
        return text("none in range")
    return text("all in range") if density == float("inf") else sparsity.told_percent(density)


def clustering(text: Text) -> Clustering:
    """The chosen matrix, gathered into blocks by every method."""
    used = results.model(text)
    kind, blocks, density = _matrix(text)
    layer, size, noise = "", "", 0
    first, second = st.columns(2)
    with first:
        if kind == dense_blocks.PRUNED:
            names = {n: n for n in sparsity.layers(used)}
            layer = controls.choice("layer pruned", text("Layer"), names, "4e 3x3")
        else:
            size = controls.choice("size", text("Rows x columns"), {n: text.isolated(n) for n in dense_blocks.SIZES}, "384 x 1152")
    with second:
        if kind == dense_blocks.PLANTED:
            noise = controls.number("noise", text("Non-zeros outside the blocks, %"), 0, 60, 10)
    key = ("blocks", str(used.device), kind, layer and used.key, layer, size, blocks, density, noise, lab.again(text, "blocks"))

    def work(progress: Progress) -> Generator[float, None, Clustering]:
        if kind == dense_blocks.PRUNED:
            weights, shape = sparsity.layer_weights(used, layer), sparsity.layers(used)[layer]
            matrix, truth = dense_blocks.pruned_matrix(weights, density, blocks), None
        else:
            shape = dense_blocks.SIZES[size]
            matrix, truth = dense_blocks.matrix_of(kind, shape, density, blocks, noise / 100)
        return dense_blocks.measure(kind, matrix, shape.positions, blocks, used.device, truth, progress.check)

    return results.compute(text, used, "blocks", key, work)


def _matrix(text: Text) -> tuple[str, int, float]:
    first, second, third = st.columns(3)
    with first:
        kind = controls.choice("matrix", text("Matrix"), {k: text(words) for k, words in dense_blocks.KINDS.items()})
    with second:
        density = controls.choice("density", text("Density"), {d: f"{100 * d:g}%" for d in (0.01, 0.02, 0.05, 0.1)}, 0.05)
    with third:
        return kind, controls.number("blocks", text(dense_blocks.BLOCKS), 2, dense_blocks.MOST_BLOCKS, 16), density


def order(text: Text, found: Clustering) -> Gathered:
    """The order to look at; the fastest that a method found comes first."""
    here = {g.method: g for g in found.found}
    return here[controls.choice("order of blocks", text("Order to look at"), {name: text(name) for name in here}, found.best.method)]


def told_order(text: Text, shown: Gathered) -> None:
    """The numbers of one order."""
    told = (
        (text("Non-zeros inside"), sparsity.told_percent(shown.inside), None),
        (text("Density inside"), sparsity.told_percent(shown.density), None),
        (text("Storage against CSR"), f"x {shown.storage:.2f}", None),
        (text("Found in, seconds"), f"{shown.found_in:.2f}", None),
        (text("Faster than CSR"), f"x {shown.over_csr.told}", shown.over_csr),
        (text("Faster than dense"), f"x {shown.over_dense.told}", shown.over_dense),
    )
    for column, (label, value, ratio) in zip(_columns(len(told)), told, strict=True):
        column.metric(
            label, text.isolated(value), ratio and _interval(text, digits(ratio.low), digits(ratio.high)), "off", delta_arrow="off"
        )
    if len(dense_blocks.methods()) < len(dense_blocks.METHODS):
        st.caption(text(dense_blocks.NoPartitioner.words))
