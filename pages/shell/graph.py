"""Drawings of graphs as a component: clicks and keys select a node; and what a page tells of a node of the module graph."""

import streamlit as st

from inception_viz import architecture as architectures
from inception_viz.architecture import Architecture
from inception_viz.figures import architecture as drawing
from inception_viz.figures import colours
from inception_viz.text import Text
from pages.shell import frame

KEY = "module graph"
_SCRIPT = """export default function({data, parentElement, setStateValue}) {
  const stage = parentElement.querySelector(".stage");
  if (stage.dataset.drawn !== data.svg) {
    const left = stage.scrollLeft, focused = stage.getRootNode().activeElement?.dataset?.node;
    stage.innerHTML = data.svg;  // our own drawing, every name in it escaped
    if (focused) stage.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});  // or keys would lose their place
    stage.dataset.drawn = data.svg;
    stage.scrollLeft = stage.dataset.focus === String(data.focus) ? left : data.focus - 180;
    stage.dataset.focus = data.focus;
  }
  const pick = (event) => {
    const node = event.target.closest("g.node");
    if (node) setStateValue("node", node.dataset.node);
  };
  stage.onclick = pick;
  stage.onkeydown = (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(event); }
  };
}"""
_component = st.components.v2.component(
    "module_graph",
    html='<div class="stage"></div>',
    css=".stage{overflow-x:auto;direction:ltr;color:var(--st-text-color);padding-bottom:6px}",
    js=_SCRIPT,
)


def selected(key: str = KEY) -> str | None:
    """The node that was clicked last in the drawing of that key."""
    state = st.session_state.get(key)
    return state.get("node") if state else None


def _ignore() -> None:
    """The component needs a listener for its state; reading it in `selected` is enough."""


def show(picture: drawing.Drawing, key: str = KEY) -> None:
    """The drawing, as wide as the page, scrolling sideways."""
    _component(data={"svg": picture.svg, "focus": picture.focus}, key=key, on_node_change=_ignore, height=picture.height + 24)


def legend(text: Text, described: Architecture, by: str, picture: drawing.Drawing) -> None:
    """What the colours mean."""
    if picture.scale is None:
        names = dict.fromkeys(branch.name for block in described.blocks for branch in block.branches)
        swatches = " &nbsp; ".join(f'<span style="color:{colours.branch(n)}">■</span> {text.isolated(n)}' for n in names)
        st.html(f"<p>{swatches}</p>")
        return
    low, high = (drawing.short(end) for end in picture.scale)
    st.caption(text("Dark is {low}, bright is {high} {unit} (logarithmic scale)", low=low, high=high, unit=text(drawing.NUMBERS[by][1])))


def facts(text: Text, described: Architecture, opened: frozenset[str]) -> None:
    """Size, cost and receptive field of the selected node."""
    drawn = architectures.condensed(described, opened)
    node = selected()
    if node not in drawn:
        st.caption(text("Click a node to see its shape, parameters, multiply-accumulates and receptive field."))
        return
    known = drawn.nodes[node]
    st.subheader(text("Node {name}", name=node), anchor=False)
    numbers = {
        text("Shape"): " × ".join(map(str, known["shape"])),
        text("Parameters"): drawing.short(known["parameters"]),
        text("Multiply-accumulates"): drawing.short(known["macs"]),
        text("Receptive field, pixels"): f"{known['receptive_field']:,}",
        text("Step, pixels"): f"{known['step']:,}",
    }
    frame.numbers(text, numbers)
    notes = {
        b.note for block in described.blocks for b in block.branches if (block.name, b.name) == (known["block"], known["branch"]) and b.note
    }
    for note in notes:
        st.info(text(note))


def totals(text: Text, described: Architecture) -> None:
    """Sums over the whole network."""
    numbers = {
        text("Parameters"): drawing.short(described.parameters),
        text("Multiply-accumulates a picture"): drawing.short(described.macs),
        text("Blocks"): str(len(described.blocks)),
        text("Picture side, pixels"): str(described.input_side),
    }
    frame.numbers(text, numbers)
