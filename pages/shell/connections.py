"""Connection tables as the engine measures them for the pages."""

import streamlit as st

from inception_viz import connections
from inception_viz.connections import Comparison, Layer, Wiring
from inception_viz.errors import VisitorError
from inception_viz.text import Text
from pages.shell import controls, lab, results


def chosen(text: Text) -> Layer:
    """The layer to connect."""
    first, second, third, fourth = st.columns(4)
    with first:
        times = controls.number(
            "times",
            text("Channels per LeNet-5 map"),
            1,
            connections.MOST_TIMES,
            16,
            text("1 is LeNet-5 itself: 6 inputs, 16 outputs."),
        )
    with second:
        kernel = controls.choice("kernel", text("Kernel"), {k: text.isolated(f"{k} x {k}") for k in (1, 3, 5, 7)}, 5)
    with third:
        side = controls.number("side", text("Side of the map"), 4, connections.LARGEST_SIDE, 14)
    with fourth:
        return Layer(times, kernel, side, controls.choice("groups", text("Groups"), {g: str(g) for g in (2, 3, 4, 6, 8)}, 2))


def wirings(text: Text, layer: Layer) -> dict[str, Wiring]:
    """All wirings of a layer; the page ends with a sentence where they are too large."""
    try:
        return connections.wirings(layer)
    except VisitorError as error:
        results.tell(text, error)
        raise


def table(text: Text, found: Comparison) -> None:
    """Parameters, multiply-accumulates and measured time of every wiring in every way that it is run."""
    rows = [
        {
            text("Connection"): text("{wiring}, {way}", wiring=text(one.wiring), way=text(one.way)),
            text("Parameters"): one.parameters,
            text("MACs, million"): one.macs / 1e6,
            text("Time, ms"): 1e3 * one.timing.median,
            text("fastest"): 1e3 * one.timing.low,
            text("slowest"): 1e3 * one.timing.high,
        }
        for one in found.found
    ]
    places = [text("MACs, million"), text("Time, ms"), text("fastest"), text("slowest")]
    st.dataframe(rows, hide_index=True, column_config={place: st.column_config.NumberColumn(format="%.3g") for place in places})
    layer, whole = found.layer, connections.whole_groups(found.layer)
    if whole != layer.groups:
        st.caption(
            text(
                "Groups: {n} instead of {asked}, the next lower number that divides both {inputs} inputs and {outputs} outputs.",
                n=whole, asked=layer.groups, inputs=layer.inputs, outputs=layer.outputs,
            )
        )  # fmt: skip


def compared(text: Text, layer: Layer) -> Comparison:
    """All wirings of a layer in all ways."""
    used = results.model(text)
    key = ("connections", str(used.device), layer, lab.again(text, "connections"))
    return results.compute(text, used, "connections", key, lambda progress: connections.measure(layer, used.device))
