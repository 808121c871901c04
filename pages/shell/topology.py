"""Planted networks and their recovery, chosen and computed for the page."""

from dataclasses import replace

import streamlit as st

from inception_viz import topology
from inception_viz.text import Text
from inception_viz.topology import Border, Recovery, Setting
from pages.shell import controls, frame, lab, results

UNITS, DENSITIES, SAMPLES = (
    (50, 100, 200, 300, 500, 1000, 1500),
    (0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1),
    (300, 1000, 3000, 10_000, 30_000),
)
BORDER_UNITS, BORDER_SAMPLES = 150, (100, 300, 1000, 3000, 10_000)
SHOWN = 12


def setting(text: Text) -> Setting:
    """What the person turns."""
    first, second, third = st.columns(3)
    with first:
        units = controls.choice("units", text("Units a layer"), {n: f"{n:,}" for n in UNITS}, 500)
        density = controls.choice("density", text("Share that fires at the top"), {d: f"{d:.1%}" for d in DENSITIES}, 0.003)
    with second:
        degree = controls.number("degree", text("Connections of a unit"), 2, 16, 6)
        samples = controls.choice("samples", text("Samples"), {n: f"{n:,}" for n in SAMPLES}, 10_000)
    with third:
        layers = controls.number("layers", text("Layers of connections"), 1, 3, 2)
        weights = controls.choice("edge weights", text("Weights of connections"), {w: text(words) for w, words in topology.WEIGHTS.items()})
    left, right = st.columns(2)
    with left:
        wiring = controls.choice("wiring", text("Wiring"), {w: text(words) for w, words in topology.WIRINGS.items()})
    with right:
        seed = controls.number("planted seed", text("Which random network (seed)"), 0, 20, 0)
    return Setting(units, degree, layers, density, samples, weights, wiring, seed)


def recovered(text: Text, chosen: Setting) -> Recovery:
    """The planted network and its recovery."""
    ticks = 60 * chosen.layers
    return results.compute(
        text, results.model(text), "recovery", ("recovery", chosen), lambda progress: topology.experiment(chosen, progress.tick), ticks
    )


def facts(text: Text, found: Recovery) -> None:
    """What was found in each layer, with the time it took."""
    for number, (layer, score) in enumerate(zip(found.layers, found.scores, strict=True), start=1):
        numbers = {
            text("Layer {n}: parents found", n=number): f"{score.found} / {score.planted}",
            text("Precision, for"): f"{score.positive_precision:.1%}",
            text("Recall, for"): f"{score.positive_recall:.1%}",
            text("Exact parent sets"): f"{score.exact:.1%}",
            text("Seconds"): f"{layer.seconds:.1f}",
        }
        frame.numbers(text, numbers)


def look(text: Text, found: Recovery) -> topology.Neighbourhood:
    """The few parents to look at, chosen by the person."""
    left, right = st.columns(2)
    with left:
        layer = controls.choice("planted layer", text("Layer"), {n: text("layer {n}", n=n + 1) for n in range(len(found.layers))})
    with right:
        parent = controls.choice("planted parent", text("Unit and its neighbours"), {n: text("unit {n} above", n=n) for n in range(SHOWN)})
    return topology.neighbourhood(found, layer, parent)


def border(text: Text, chosen: Setting) -> Border:
    """The map of recovery over samples and sparsity, for small networks; after a click."""
    small = replace(chosen, units=min(chosen.units, BORDER_UNITS), degree=min(chosen.degree, BORDER_UNITS // 4), seed=0)
    key = ("border", small.units, small.degree, small.layers, small.weights, small.wiring)
    densities = tuple(d for d in DENSITIES if d * small.units >= 1)
    used = results.model(text)
    lab.started(text, used, key, text("Draw the map (about a minute)"))
    return results.compute(text, used, "border", key, lambda progress: topology.border(small, densities, BORDER_SAMPLES), in_turns=True)
