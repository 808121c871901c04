"""The front door: choose a network and a picture, see what it says, and where to go from there."""

import streamlit as st

from pages.shell import chooser, frame

text = frame.open_page("home")
chooser.pictures(text)
chooser.answer(text)
st.subheader(text("Where to go from here"), anchor=False)
frame.signposts(text)
with st.expander(text("Network, weights and device")):
    chooser.network(text)
