"""Sparse products as the engine measures them for the pages."""

import numpy as np
import streamlit as st

from inception_viz import sparsity
from inception_viz.models import Model
from inception_viz.sparsity import BreakEven, Point, Shape
from inception_viz.text import Text
from pages.shell import controls, lab, results

OWN, LOADED = "own", "loaded"


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
    for column, found in zip(st.columns(len(even)), even, strict=True):
        low, high = (_density(text, d) for d in (found.low, found.high))
        column.metric(
            text(found.format), _density(text, found.density), text("{low} to {high}", low=low, high=high), "off", delta_arrow="off"
        )


def _density(text: Text, density: float) -> str:
    if density == 0:
        return text("none in range")
    return text("all in range") if density == float("inf") else sparsity.told_percent(density)
