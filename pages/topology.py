"""Arora's construction: a planted random network, and what is recovered of it from samples of its lowest layer alone."""

import streamlit as st

from inception_viz import topology as library
from inception_viz.figures import topology as drawing
from pages.shell import frame, lab, topology

text = frame.open_page("topology")
chosen = topology.setting(text)
found = topology.recovered(text, chosen)

topology.facts(text, found)
lab.outcome(text, library.outcome(found), "topology")
frame.show(drawing.agreement(found, text), "topology-agreement")

st.subheader(text("Planted and recovered"), anchor=False)
if found.layers:
    frame.show(drawing.side_by_side(topology.look(text, found), text), "topology-graphs")
    st.caption(
        text("Recovered units are matched to the planted ones that share most of their children; units have no numbers of their own.")
    )

st.subheader(text("Where the theory's conditions end"), anchor=False)
st.markdown(
    text("It takes many samples and sparse firing: a map of how well the worst layer is recovered, measured here on small networks.")
)
frame.show(drawing.border(topology.border(text, chosen), text), "topology-border")
