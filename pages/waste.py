"""What the network computes for nothing: weights near zero, wasted channels, and what happens without them."""

import streamlit as st

from inception_viz import pruning
from inception_viz import waste as library
from inception_viz.figures import waste as drawing
from pages.shell import controls, frame, lab, waste

text = frame.open_page("waste")
controls.training(text)
panel = lab.panel(
    "waste", text("What is looked at"), {"weights": text("Weights"), "channels": text("Channels"), "removal": text("Without them")}
)

if panel == "weights":
    threshold = waste.threshold(text)
    few = waste.near_zero(text, threshold)
    shares = waste.histogram(text)
    frame.show(drawing.weights(shares, library.bell(), threshold, text), "waste-weights")
    frame.show(drawing.layers(few, library.by_chance(threshold), text), "waste-layers")
    st.caption(text("Dotted: what a bell curve has. Weights drawn at random, before any training, lie on it."))
    lab.computed_on(text, waste.where(text))
    lab.outcome(text, library.lazy(few, threshold, shares, waste.where(text)), "waste-weights")
elif panel == "channels":
    both = waste.idle(text, waste.similar(text))
    frame.show(drawing.channels(both, text), "waste-channels")
    st.caption(text("Hatched and dotted: the same network before training, on the same views. The rank is at most the number of channels."))
    waste.looked_at(text)
    lab.computed_on(text, waste.where(text))
    lab.outcome(text, library.idle(both, waste.where(text)), "waste-channels")
else:
    left, right = st.columns(2)
    with left:
        threshold = waste.threshold(text)
    with right:
        similar = waste.similar(text)
    found = waste.pruned(text, threshold, similar, waste.labelled(text))
    frame.show(drawing.removal(found.judged, text), "waste-removal")
    waste.judged_on(text, found)
    lab.computed_on(text, found.conditions)
    lab.outcome(text, pruning.outcome(found), "waste-removal")
