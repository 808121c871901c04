"""Whether channels of one branch fire together more than across branches: by principle or by coincidence."""

import streamlit as st

from inception_viz import coincidence as library
from inception_viz import nulls
from inception_viz.figures import coincidence as drawing
from pages.shell import coincidence, controls, frame, lab, results

text = frame.open_page("coincidence")
controls.training(text)
analysis = results.analysis(text)
left, right = st.columns(2)
with left:
    kind = coincidence.definition(text)
with right:
    twins = controls.choice("twins", text("Untrained twins"), {n: str(n) for n in (nulls.DRAWS, 39, 99)}, nulls.DRAWS)
found = coincidence.compared(text, analysis, kind, twins)
frame.show(drawing.gaps(found, text), "coincidence")
st.caption(text("{shuffles} shuffles of the branches' labels among the live channels of a block; n = {n} samples a channel in {first}, {least} in {last}.",
                shuffles=library.SHUFFLES, n=found[0].n, first=found[0].block, least=found[-1].n, last=found[-1].block))  # fmt: skip
lab.computed_on(text, coincidence.where(text))
lab.outcome(text, library.answered(found, coincidence.where(text)), "coincidence")
