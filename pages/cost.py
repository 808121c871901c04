"""What size costs: width, depth, the loaded network made wider, well-known networks, and what 1x1 reductions save."""

import streamlit as st

from inception_viz import cost as library
from inception_viz.figures import cost as drawing
from inception_viz.networks import GOOGLENET
from pages.shell import controls, cost, frame, lab

text = frame.open_page("cost")
panels = {
    "width": text("Width"),
    "depth": text("Depth"),
    "factor": text("The loaded network, wider"),
    "stages": text("The loaded network, deeper"),
    "blocks": text("1x1 reductions"),
    "own": text("A block of your own"),
    "networks": text("Well-known networks"),
}
panel = lab.panel("cost", text("What is measured"), panels)

if panel == "width":
    left, right = st.columns(2)
    with left:
        widest = controls.number("widest", text("Channels of the widest chain"), 16, library.WIDEST, 128)
    with right:
        depth = controls.number("chain depth", text("Convolutions in a chain"), 1, library.DEEPEST, 2)
    points = cost.by_width(text, widest, depth)
    frame.show(drawing.growth(points, library.growth(points), text("channels"), text), "cost-width")
    cost.measured_on(text, points, text("3x3 convolutions on a map of {side} x {side}.", side=library.SIDE))
    lab.outcome(text, library.grown(points), "cost-width", "width")
elif panel == "depth":
    left, right = st.columns(2)
    with left:
        width = controls.number("chain width", text("Channels of every convolution"), 8, library.WIDEST, 64)
    with right:
        deepest = controls.number("deepest", text("Convolutions in the deepest chain"), 8, library.DEEPEST, 16)
    points = cost.by_depth(text, width, deepest)
    frame.show(drawing.growth(points, library.growth(points), text("convolutions"), text), "cost-depth")
    cost.measured_on(text, points, text("3x3 convolutions on a map of {side} x {side}.", side=library.SIDE))
    lab.outcome(text, library.grown(points, library.LINEAR, 1), "cost-depth", "depth")
elif panel == "factor":
    factor = controls.choice("factor", text("All widths times"), {f: f"x {f:g}" for f in library.CHOICES}, 1.0)
    points = cost.by_factor(text, factor)
    cost.told(text, cost.at(points, factor), cost.at(points, 1.0))
    st.caption(text("Below each number: how many times that of the network as it is."))
    frame.show(drawing.growth(points, library.growth(points), text("factor on all widths"), text), "cost-factor")
    cost.measured_on(text, points, text("The picture's three channels and the number of classes stay, so the power is a little below 2."))
    lab.outcome(text, library.grown(points), "cost-factor", "factor")
elif panel == "stages":
    points = cost.by_stage(text)
    frame.show(drawing.stages(points, text), "cost-stages")
    cost.measured_on(
        text, points, text("Each point holds all that comes before it too; random values, since time does not depend on them.")
    )
    lab.outcome(text, library.deeper(points), "cost-stages", "stages")
elif panel == "blocks":
    five = controls.choice("five", text("The 5x5 branch"), {5: text("5x5, as in the paper"), 3: text("3x3, as torchvision builds it")})
    pairs = cost.of_blocks(text, GOOGLENET, "blocks", five)
    frame.show(drawing.blocks(pairs, text), "cost-blocks")
    cost.measured_on(text, cost.each(pairs), text("Widths as in the paper's Table 1, on pictures of 224 x 224."))
    lab.outcome(text, library.saved(pairs, GOOGLENET, five), "cost-blocks", "blocks")
elif panel == "own":
    left, right = st.columns(2)
    with left:
        name = controls.choice("paper block", text("Begin with block"), cost.names(), "4a")
    with right:
        five = controls.choice("five", text("The 5x5 branch"), {5: text("5x5, as in the paper"), 3: text("3x3, as torchvision builds it")})
    widths = cost.edited(text, name)
    pairs = cost.of_blocks(text, {name: widths}, "own", five)
    cost.told(text, pairs[name][0], pairs[name][1], widths.outputs)
    st.caption(text("Below each number: how many times that of the naive block, which has no reductions."))
    frame.show(drawing.branches(library.by_branch(widths, five), library.naive_by_branch(widths, five), text), "cost-own")
    cost.measured_on(text, cost.each(pairs))
    lab.outcome(text, library.saved(pairs, {name: widths}, five), "cost-own", "own")
else:
    found = cost.of_networks(text)
    frame.show(drawing.networks(found, text), "cost-networks")
    cost.measured_on(
        text,
        cost.measured(found),
        text("Random values in all of them: time does not depend on them. Inception v3 sees 299 x 299 pixels, the others 224 x 224."),
    )
    lab.outcome(text, library.compared(found), "cost-networks", "networks")
