"""How the channels of every block fire together over a whole folder of pictures, and which of them tell its classes apart."""

import streamlit as st

from inception_viz import clusters as library
from inception_viz import statistics as numbers
from inception_viz.figures import clusters as cluster_drawing
from inception_viz.figures import correlations as matrices
from inception_viz.figures import statistics as drawing
from pages.shell import controls, examples, frame, statistics

text = frame.open_page("statistics")
controls.training(text)
statistics.choose(text)
found = statistics.gathered(text)
statistics.facts(text, found)
block = statistics.block(text, found)

st.subheader(text("Over all positions of all pictures"), anchor=False)
similar = statistics.correlation(found, block.name, "positions")
left, right = st.columns([3, 2])
with left:
    order = statistics.order(found, block.name, "positions")
    frame.show(matrices.whole(similar, block, order, "", text), f"statistics-correlations-{block.name}")
with right:
    parts = {b.name: similar.part(b.start, b.stop).pairs() for b in block.branches} | {text("all pairs"): similar.pairs()}
    frame.show(drawing.distribution(parts, 0, text), f"statistics-distribution-{block.name}")
    statistics.told(text, similar, block)

st.subheader(text("Clusters over the branches"), anchor=False)
method, count = controls.method_and_count(text, int((~similar.constant).sum()))
clusters = statistics.clustered(found, block.name, "positions", method, count)
frame.show(cluster_drawing.over_branches(library.branch_table(clusters, block), block, text), f"statistics-clusters-{block.name}")

st.subheader(text("Within blocks and between neighbouring blocks"), anchor=False)
first, second = statistics.pair(text, found)
across = statistics.across(found, first.name, second.name)
left, right = st.columns([3, 2])
with left:
    frame.show(drawing.between(across.r, first, second, text), f"statistics-between-{first.name}-{second.name}")
with right:
    table, rows, columns = statistics.branch_table(text, found, first, second)
    frame.show(drawing.branch_table(table, rows, columns, text), f"statistics-branches-{first.name}-{second.name}")
    statistics.told_between(text, across)

st.subheader(text("Picture by picture"), anchor=False)
whole, inside = (statistics.correlation(found, block.name, kind) for kind in ("images", "within classes"))
left, right = st.columns([3, 2])
with left:
    order = statistics.order(found, block.name, "images")
    frame.show(matrices.whole(whole, block, order, "", text), f"statistics-images-{block.name}")
with right:
    parts = {text("over all pictures"): whole.pairs(), text("within classes"): inside.pairs()}
    frame.show(drawing.distribution(parts, whole.n, text), f"statistics-images-distribution-{block.name}")
    statistics.told_images(text, whole)

st.subheader(text("Class by class"), anchor=False)
selective, names = numbers.selectivity(found, block.name), found.class_names(text.language)
left, right = st.columns(2)
with left:
    strongest = [names[k] for k in selective.strongest]
    frame.show(drawing.classes(selective.share, selective.chance, block, strongest, text), f"statistics-classes-{block.name}")
with right:
    means, rows, columns = statistics.class_means(text, found, block, clusters)
    frame.show(drawing.class_means(means, rows, columns, text), f"statistics-class-means-{block.name}")
    statistics.told_classes(text, found)

statistics.downloads(text, examples.over_statistics(text, found, block, method, count))
