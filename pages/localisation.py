"""Where on the picture the class is: three maps of a network that was never taught places, their boxes, and the true one, drawn by hand."""

import streamlit as st

from pages.shell import controls, frame, localisation

text = frame.open_page("localisation")
controls.training(text)
picture = localisation.picture(text)
analysis = localisation.analysis(text, picture)
chosen = localisation.settings(text, analysis)
found = localisation.located(text, picture, analysis, chosen)

left, right = st.columns([3, 2])
with left:
    localisation.canvas(text, picture, found)
with right:
    localisation.edges(text, picture)
localisation.scores(text, picture, found)

st.subheader(text("Map by map"), anchor=False)
localisation.maps(text, picture, found, chosen)

st.subheader(text("All your boxes"), anchor=False)
localisation.together(text, chosen)
localisation.measured(text)
