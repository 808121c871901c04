"""Which channels fire together: where they come from, where they fire, and over several pictures."""

import streamlit as st

from inception_viz import clusters as library
from inception_viz import correlations
from inception_viz.attributions import cluster_map
from inception_viz.figures import clusters as drawing
from pages.shell import controls, features, frame, results, session, told

text = frame.open_page("clusters")
controls.training(text)
analysis = results.analysis(text)

left, right = st.columns(2)
with left:
    name = controls.block(text, analysis)
with right:
    enough = len(session.current().pictures) >= 3
    kinds = {key: text(words) for key, words in correlations.DEFINITIONS.items() if enough or key != "image"}
    definition = controls.choice("definition", text("Firing together"), kinds)
block = analysis.blocks[name]
similar = results.similarity(text, analysis, name, definition)
method, count = controls.method_and_count(text, int((~similar.constant).sum()))
found = results.clustered(text, results.similarity_key(analysis, definition), name, similar, method, count, definition)

told.cluster_facts(text, found, similar)
left, right = st.columns([2, 3])
with left:
    st.subheader(text("Over the branches"), anchor=False)
    frame.show(drawing.over_branches(library.branch_table(found, block.block), block.block, text), f"clusters-branches-{name}")
with right:
    st.subheader(text("Over the picture"), anchor=False)
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, 8))]
    titles = [text("cluster {n}", n=k + 1) for k in range(len(maps))]
    frame.show(drawing.maps(analysis.view, maps, titles, text), f"clusters-maps-{name}")

st.subheader(text("One cluster"), anchor=False)
chosen = controls.choice("cluster", text("Cluster"), {k: text("cluster {n}", n=k + 1) for k in range(found.count)})
told.cluster_members(text, block, found, chosen)
features.expander(text, analysis, name, found.members(chosen))

st.subheader(text("Over several pictures"), anchor=False)
if not enough:
    st.info(text("Upload three or more pictures on the first page to see which clusters fire together over them."))
else:
    graph = library.cofiring(library.firing(results.pooled(text, name), found))
    frame.show(drawing.network(graph, text), f"clusters-network-{name}")
    st.caption(text("Lines join clusters whose mean activations correlate with r above 0.5 over n = {n} pictures; below 20 that is easily chance.",
                    n=len(session.current().pictures)))  # fmt: skip
