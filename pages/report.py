"""The whole analysis of the picture to take away: a page to read, and the data to repeat it."""

import streamlit as st

from inception_viz import report as library
from pages.shell import controls, frame, reports, results

text = frame.open_page("report")
likeliest = results.analysis(text)
target = controls.target(text, likeliest)
analysis = results.analysis(text, target)

block = controls.block(text, analysis)
method, count = controls.method_and_count(text, int((~analysis.blocks[block].correlation.constant).sum()))
st.caption(text("The clusters of this block are tested against {n} draws of shifted maps; the pairs of every block against all shifts.",
                n=library.nulls.DRAWS))  # fmt: skip
if controls.switch("made", text("Make the report"), help=text("Takes some seconds; you can stop it.")):
    reports.save(text, analysis, reports.made(text, analysis, method, count, block))
else:
    st.info(text("Choose what it is about, then make it: nine blocks, their clusters, what they give, and what chance gives."))
