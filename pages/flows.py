"""How much of a cluster comes from each cluster of the block before, and on to the class."""

import streamlit as st

from inception_viz import flows as library
from inception_viz.figures import flows as drawing
from pages.shell import controls, flows, frame, graph, results

text = frame.open_page("flows")
controls.training(text)
target = controls.target(text, results.analysis(text))
analysis = results.analysis(text, target)

left, middle, right = st.columns([2, 3, 2])
with left:
    blocks = flows.blocks(text, analysis)
with middle:
    measure = controls.choice("measure", text("What lines show"), {m: text(words) for m, words in library.MEASURES.items()})
with right:
    other = flows.other_picture(text)
found = flows.clusters(text, analysis, blocks)
shown = flows.followed(text, analysis, found, measure, other)

picture = drawing.draw(shown.graph, text, flows.logit_name(text, analysis), flows.least(text), graph.selected(flows.KEY))
graph.show(picture, flows.KEY)
flows.legend(text, shown)
flows.facts(text, analysis, shown)
frame.download(text("Drawing as SVG"), picture.svg, "flows.svg", "image/svg+xml")
