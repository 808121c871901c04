"""What every channel of a block answers to the picture."""

import numpy as np
import streamlit as st

from inception_viz import activations as library
from inception_viz.figures import activations as drawing
from inception_viz.grids import grid
from pages.shell import controls, features, frame, results

text = frame.open_page("activations")
analysis = results.analysis(text)

left, middle, right = st.columns(3)
with left:
    block = analysis.blocks[controls.block(text, analysis)]
with middle:
    branches = {None: text("all branches")} | {b.name: b.name for b in block.block.branches}
    branch = controls.choice("branch", text("Branch"), branches)
with right:
    sorting = controls.choice("sorting", text("Sorted by"), {key: text(key) for key in library.SORTINGS})

channels = library.sorted_channels(block.activation, block.attribution.channels, block.block, branch, sorting)
page = controls.number("page", text("Page of {n} maps", n=library.PAGE), 1, -(-len(channels) // library.PAGE), 1)
shown = channels[(page - 1) * library.PAGE : page * library.PAGE]
frame.show(drawing.tiles(block.activation, block.block, shown, text), f"activations-{block.block.name}")
st.caption(
    text.plural("{n} channel of this block is constant on this picture.", "{n} channels of this block are constant on this picture.",
                int(block.correlation.constant.sum()))
)  # fmt: skip

st.subheader(text("One channel over the picture"), anchor=False)
channel = controls.choice("channel", text("Channel"), {int(c): text("channel {n}", n=int(c)) for c in channels})
left, right = st.columns([2, 1])
with left:
    frame.show(
        drawing.overlay(analysis.view, block.activation[channel], grid(block.block, len(analysis.view)), "", text), f"channel-{channel}"
    )
with right:
    st.metric(text("Mean activation (n = {n} positions)", n=block.correlation.n), text.isolated(f"{block.activation[channel].mean():.3g}"))
    st.metric(text("Highest activation"), text.isolated(f"{block.activation[channel].max():.3g}"))
    st.metric(text("Given to the target, logits"), text.isolated(f"{block.attribution.channels[channel]:+.3g}"))
features.expander(text, analysis, block.block.name, np.array([channel]))
