"""How the channels of each branch, and of the whole block, correlate over the positions of the picture; and the same by chance."""

import streamlit as st

from inception_viz import correlations as library
from inception_viz import nulls
from inception_viz.figures import correlations as drawing
from pages.shell import controls, doubts, evidence, frame, results, told

text = frame.open_page("correlations")
controls.training(text)
analysis = results.analysis(text)

left, right = st.columns(2)
with left:
    name = controls.block(text, analysis)
with right:
    by = controls.choice("order", text("Channels ordered by"), {"branch": text("branch"), "similarity": text("similarity")}, "similarity")
subject = evidence.Subject(analysis, name, *controls.firing(text))
block, similar = analysis.blocks[name].block, evidence.similarity(text, subject)
order = evidence.order(subject, similar, by)

st.subheader(text("Branch by branch"), anchor=False)
inside = [order[block.branch_of[order] == i] - branch.start for i, branch in enumerate(block.branches)]
frame.show(drawing.branches(similar, block, inside, text), f"correlations-branches-{name}")
told.constants(text, similar, block)

st.subheader(text("The whole block, and the same by chance"), anchor=False)
left, right = st.columns([3, 2], vertical_alignment="bottom")
with left:
    kind = controls.null(text, subject.definition)
with right:
    tested = controls.switch(
        "test pairs",
        text("Test all pairs (takes longer)"),
        help=text("Draws the null many times instead of once, and gives every pair a p."),
    )
null, chance = evidence.null(text, subject, kind, nulls.DRAWS if tested else 1), text("{null}: chance", null=text(nulls.KINDS[kind]))
shown = {text("this network"): (similar, order), chance: (null.first, library.order(null.first) if by == "similarity" else order)}
frame.show(drawing.beside(shown, block, text), f"correlations-{name}")

st.subheader(text("How r is distributed"), anchor=False)
left, right = st.columns([3, 2])
with left:
    parts = {branch.name: similar.part(branch.start, branch.stop) for branch in block.branches}
    frame.show(drawing.distribution(parts | {text("all pairs"): similar}, text, {chance: null.pairs}), f"correlations-distribution-{name}")
with right:
    if tested:
        tests = evidence.pair_tests(text, subject, similar, null)
        told.against_chance(text, tests.against_chance(), similar, null, evidence.by_shifts(subject, kind))
    else:
        told.untested(text, similar, null)
if tested:
    doubts.pair_by_pair(text, tests, similar, block, order)
