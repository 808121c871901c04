"""What the prediction loses without a cluster, and what is left with that cluster alone, against random sets of channels as many and as strong."""

import streamlit as st

from inception_viz.figures import knockouts as drawing
from inception_viz.knockouts import BASELINES
from pages.shell import controls, evidence, frame, results, told

text = frame.open_page("knockouts")
controls.training(text)
target = controls.target(text, results.analysis(text))
analysis = results.analysis(text, target)

left, middle, right = st.columns([2, 3, 2])
with left:
    name = controls.block(text, analysis)
with middle:
    baseline = controls.choice("baseline", text("What stands in for the channels"), {key: text(words) for key, words in BASELINES.items()})
with right:
    draws = controls.choice("controls", text("Random sets a cluster"), {n: str(n) for n in (20, 99)})
similar = analysis.blocks[name].correlation
found = results.clustered(text, analysis.without_target, name, similar, *controls.method_and_count(text, int((~similar.constant).sum())))
outcome = evidence.knocked_out(text, analysis, name, found, baseline, draws)

told.knockout_facts(text, analysis, outcome, baseline, evidence.several())
out, alone = st.columns(2)
with out:
    st.subheader(text("Cluster out: is it needed?"), anchor=False)
    unit = text("fall of the target (logits)")
    frame.show(drawing.against_controls([one.necessity for one in outcome.outcomes], unit, text), f"knockouts-out-{name}")
with alone:
    st.subheader(text("Cluster alone: is it enough?"), anchor=False)
    trials = [one.sufficiency for one in outcome.outcomes]
    frame.show(drawing.against_controls(trials, unit, text, outcome.whole), f"knockouts-alone-{name}")
told.knockout_table(text, outcome)

st.subheader(text("Two clusters at once"), anchor=False)
if controls.switch("pairs", text("Take out every pair of clusters (slow)")):
    joint = evidence.interactions(text, analysis, name, found, baseline)
    frame.show(drawing.pairs(joint, text), f"knockouts-pairs-{name}")
    told.pairs(text, joint)
