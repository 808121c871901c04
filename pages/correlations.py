"""How the channels of each branch, and of the whole block, correlate over the positions of the picture."""

import numpy as np
import streamlit as st

from inception_viz import nulls
from inception_viz.correlations import TRANSFORMS
from inception_viz.figures import correlations as drawing
from pages.shell import controls, evidence, frame, results, told

text = frame.open_page("correlations")
controls.training(text)
analysis = results.analysis(text)

left, middle, right = st.columns(3)
with left:
    name = controls.block(text, analysis)
with middle:
    transform = controls.choice("transform", text("Activations"), {key: text(key) for key in TRANSFORMS})
with right:
    by = controls.choice("order", text("Channels ordered by"), {"branch": text("branch"), "similarity": text("similarity")}, "similarity")
block, similar = analysis.blocks[name].block, results.similarity(text, analysis, name, transform=transform)
order = results.order(analysis, name, similar, transform=transform) if by == "similarity" else np.arange(block.channels)

st.subheader(text("Branch by branch"), anchor=False)
inside = [order[block.branch_of[order] == i] - branch.start for i, branch in enumerate(block.branches)]
frame.show(drawing.branches(similar, block, inside, text), f"correlations-branches-{name}")
told.constants(text, similar, block)

left, right = st.columns([3, 2])
with left:
    st.subheader(text("The whole block"), anchor=False)
    frame.show(drawing.whole(similar, block, order, "", text), f"correlations-{name}")
with right:
    st.subheader(text("How r is distributed"), anchor=False)
    parts = {branch.name: similar.part(branch.start, branch.stop).pairs() for branch in block.branches}
    null = evidence.null(text, analysis, name, nulls.SHIFT, transform=transform)
    p = evidence.pair_p(text, analysis, name, similar, null, "spatial", transform)
    frame.show(drawing.distribution(parts | {text("all pairs"): similar.pairs()}, text, null.pairs), f"correlations-distribution-{name}")
    told.against_chance(text, nulls.against_chance(p, 1 / similar.n), similar.n)
