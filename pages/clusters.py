"""Which channels fire together, where they come from and where they fire; and whether any of it is more than chance."""

import streamlit as st

from inception_viz import clusters as library
from inception_viz.attributions import cluster_map
from inception_viz.figures import clusters as drawing
from inception_viz.grids import grid
from pages.shell import controls, doubts, evidence, examples, features, frame, results, session, told

text = frame.open_page("clusters")
controls.training(text)
analysis = results.analysis(text)

name = controls.block(text, analysis)
subject = evidence.Subject(analysis, name, *controls.firing(text))
block = analysis.blocks[name]
similar = evidence.similarity(text, subject)
found = evidence.clustered(text, subject, similar, *controls.method_and_count(text, int((~similar.constant).sum())))

told.cluster_facts(text, found, similar)
left, right = st.columns([2, 3])
with left:
    st.subheader(text("Over the branches"), anchor=False)
    frame.show(drawing.over_branches(library.branch_table(found, block.block), block.block, text), f"clusters-branches-{name}")
with right:
    st.subheader(text("Over the picture"), anchor=False)
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, 12))]
    titles = [text("cluster {n}", n=k + 1) for k in range(len(maps))]
    frame.show(drawing.maps(analysis.view, maps, grid(block.block, len(analysis.view)), titles, text), f"clusters-maps-{name}")

st.subheader(text("Is it real?"), anchor=False)
asked = controls.one_of(
    "doubt", text("What to doubt"), {doubts.NOTHING: text("nothing yet")} | {k: text(d.question) for k, d in doubts.DOUBTS.items()}
)
verdicts = doubts.draw(text, asked, subject, found, similar)

st.subheader(text("One cluster"), anchor=False)
chosen = controls.choice("cluster", text("Cluster"), {k: text("cluster {n}", n=k + 1) for k in range(found.count)})
doubts.tell(verdicts, chosen)
told.cluster_members(text, block, found, similar, chosen)
features.expander(text, analysis, name, found.members(chosen))

examples.section(text, analysis, name, found, chosen)

st.subheader(text("Over several pictures"), anchor=False)
if len(session.current().pictures) < controls.FEWEST:
    st.info(text("Upload three or more pictures on the first page to see which clusters fire together over them."))
else:
    graph = library.cofiring(library.firing(results.pooled(text, name), found))
    frame.show(drawing.network(graph, text), f"clusters-network-{name}")
    st.caption(text("Lines join clusters whose mean activations correlate with r above 0.5 over n = {n} pictures; below 20 that is easily chance.",
                    n=len(session.current().pictures)))  # fmt: skip
