"""From the correlations of a layer to the block that follows, step by step."""

import streamlit as st

from inception_viz import construction as library
from inception_viz.figures import construction as drawing
from pages.shell import construction, controls, frame, results

text = frame.open_page("construction")
controls.training(text)
analysis = results.analysis(text)
source = construction.source(text, analysis)
name = controls.block(text, analysis)
method, count = controls.method_and_count(text, construction.live(analysis, source, name))
trained, twin = construction.asked(text, source, name, method, count)
after, own, cost = construction.own(text, analysis, name)
side = library.following_side(analysis.architecture, name)

st.subheader(text("1. Clusters, and how far they reach"), anchor=False)
construction.facts(text, trained, twin)
frame.show(drawing.reach(trained.reach, text), f"construction-reach-{name}")

st.subheader(text("2. What the next layer needs"), anchor=False)
plan = construction.overridden(text, trained)

st.subheader(text("3. The block within a budget"), anchor=False)
budget = construction.budget(text, cost)
block = construction.fitted(text, plan, side, budget)
blocks = construction.blocks(text, block, after, own, construction.of_twin(text, twin, side, budget))
frame.show(drawing.widths(blocks, text), f"construction-widths-{name}")
construction.table(text, blocks, plan.inputs, side, drawing.NAMES)
st.caption(text("Whether such a block is better at equal cost is asked on the page “Trial”."))
construction.downloads(text, analysis, after, block, plan.inputs, side)
