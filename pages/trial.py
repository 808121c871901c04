"""The trial of topologies at equal cost: its results, a small one here and now, and the constructed network."""

import streamlit as st

from inception_viz.figures import trial as drawing
from pages.shell import frame, trial

text = frame.open_page("trial")
found = trial.committed()
trial.verdict(text, found)
task, budget = trial.kind(text, found)
lines = found.lines(task, budget)
frame.show(drawing.differences(lines, text), f"trial-{task}-{budget}")
trial.table(text, lines)
st.caption(text("Equal multiply-accumulates, data, recipe and seeds; differences are paired by seed, with 95% intervals by Student’s t."))
st.caption(
    text(
        "Whatever was chosen was chosen on pictures held out of the training set, with other seeds; those of this table were looked at once."
    )
)

st.subheader(text("Do the statistics matter, or the search alone?"), anchor=False)
trial.control(text, found)

st.subheader(text("A small trial, here and now"), anchor=False)
st.caption(text("The digits again. Topologies that look at statistics see a hand-proportioned network of the same seed, trained first."))
small = trial.live(text)
if small:
    here = small.lines(*small.kinds()[0])
    frame.show(drawing.differences(here, text), "trial-live")
    trial.table(text, here)

st.subheader(text("The constructed network beside GoogLeNet’s"), anchor=False)
picture, _ = trial.beside(text, "3a")
st.caption(text("Choose the network “constructed” on the first page, and every page looks into it."))
trial.downloads(text, picture)
