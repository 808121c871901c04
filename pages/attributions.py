"""What each cluster and each branch gives to the class, and which places of the picture do."""

import streamlit as st

from inception_viz import attributions as library
from inception_viz.figures import activations as maps
from inception_viz.figures import attributions as drawing
from inception_viz.figures import colours
from inception_viz.grids import grid, tiles
from pages.shell import believed, controls, frame, results, told

text = frame.open_page("attributions")
controls.training(text)
likeliest = results.analysis(text)
target = controls.target(text, likeliest)
analysis = results.analysis(text, target)

left, right = st.columns(2)
with left:
    name = controls.block(text, analysis)
with right:
    method = controls.choice("attribution", text("Method"), {m: text(m) for m in library.METHODS})
st.caption(text(library.METHODS[method].explained))
marks = st.container()
block = analysis.blocks[name]
found = results.clustered(
    text, analysis.without_target, name, block.correlation, *controls.method_and_count(text, int((~block.correlation.constant).sum()))
)
given = results.attribution(text, analysis, name, method, found.labels)

told.attribution_facts(text, analysis, given)
left, right = st.columns([3, 2])
with left:
    names = [text("cluster {n}", n=k + 1) for k in range(found.count)]
    frame.show(drawing.bars(given.by_cluster(found.labels), names, text("By cluster"), text), f"attributions-clusters-{name}")
with right:
    branches = block.block.branches
    fills = [colours.branch(b.name) for b in branches]
    frame.show(
        drawing.bars(given.by_branch(block.block), [b.name for b in branches], text("By branch"), text, fills),
        f"attributions-branches-{name}",
    )

st.subheader(text("Is it to be believed?"), anchor=False)
believed.block(text, analysis, name, found.labels, method, marks)

st.subheader(text("Which places of the picture"), anchor=False)
left, right = st.columns(2)
with left:
    if given.maps is None:
        st.info(text("This method tells how much a cluster gives, not where."))
    else:
        chosen = controls.choice("cluster", text("Cluster"), {k: text("cluster {n}", n=k + 1) for k in range(found.count)})
        where = library.cluster_map(given.maps, found.members(chosen))
        frame.show(
            maps.overlay(
                analysis.view,
                where,
                grid(block.block, len(analysis.view)),
                text("What cluster {n} gives, by place", n=chosen + 1),
                text,
                signed=True,
            ),
            "attributions-cluster",
        )
with right:
    pixels = controls.choice(
        "pixels",
        text("Pixel map"),
        {m: text(m) for m in library.PIXEL_METHODS},
        help=text("Made for the whole network, not for the block."),
    )
    entry = library.PIXEL_METHODS[pixels]
    seen = results.pixel_map(text, analysis, pixels)
    frame.show(
        maps.overlay(analysis.view, seen, tiles(len(seen), len(analysis.view)), text(pixels), text, signed=entry.signed),
        "attributions-pixels",
    )
    st.caption(text(entry.explained))
believed.pixels(text, analysis, pixels)

st.subheader(text("Through all blocks"), anchor=False)
if method == "gradient x activation" or controls.switch("every block", text("Compute this method for every block (slow)")):
    shape = {n: b.block for n, b in analysis.blocks.items()}
    frame.show(drawing.over_blocks(results.everywhere(text, analysis, method), shape, text), f"attributions-blocks-{method}")
