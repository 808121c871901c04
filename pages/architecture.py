"""The module graph: blocks that open, nodes that say what they are."""

import streamlit as st

from inception_viz import architecture
from inception_viz.figures import architecture as drawing
from pages.shell import controls, frame, graph, results

text = frame.open_page("architecture")
described = architecture.describe(results.model(text))
names = [block.name for block in described.blocks]

left, right = st.columns([3, 1])
with left:
    opened = controls.some("opened", text("Open blocks"), names, names[:1])
with right:
    by = controls.choice("colour", text("Colour by"), {key: text(key) for key in drawing.NUMBERS})

picture = drawing.draw(described, text, frozenset(opened), by, graph.selected())
graph.show(picture)
graph.legend(text, described, by, picture)
graph.facts(text, described, frozenset(opened))

st.subheader(text("The whole network"), anchor=False)
graph.totals(text, described)
with st.container(horizontal=True):
    frame.download(text("Graph as GraphML"), architecture.graphml(described), "graph.graphml", "application/xml")
    frame.download(text("Drawing as SVG"), picture.svg, "graph.svg", "image/svg+xml")
