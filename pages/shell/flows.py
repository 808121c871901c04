"""Flows for their page: computed by the engine, and told beside the drawing."""

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
import streamlit as st

from inception_viz import flows as library
from inception_viz.analysis import Analysis
from inception_viz.clusters import Clusters
from inception_viz.engine.local import Progress
from inception_viz.figures import clusters as maps
from inception_viz.figures import flows as drawing
from inception_viz.flows import LOGIT, Flows
from inception_viz.grids import grid
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.nulls import LEVEL
from inception_viz.text import Text
from pages.shell import controls, frame, graph, results, session

KEY = "flow graph"
MOST_MAPS = 3
BLOCKS = 3  # that are on show at first, the last of the network
LEAST = 10  # percent of what flows into a box, below which lines are left out at first


@dataclass(frozen=True, eq=False)
class Followed:
    """The flows of the picture on show, those of the `other` picture that are taken off, if any, and what is drawn of them, by `measure`."""

    own: Flows
    beside: Flows | None
    other: Picture | None
    graph: nx.DiGraph
    measure: str


def blocks(text: Text, analysis: Analysis) -> list[str]:
    """The blocks to show, in any order; the last one if none is chosen."""
    names = list(analysis.blocks)
    return controls.some(f"flow blocks {analysis.model.architecture}", text("Blocks"), names, names[-BLOCKS:]) or names[-1:]


def least(text: Text) -> float:
    """The share of what flows into a box from which a line is drawn."""
    return controls.number("least", text("Draw lines from this share of what flows in, in percent"), 0, 50, LEAST) / 100


def other_picture(text: Text) -> Picture | None:
    """The picture whose flows are taken off, if any: one of the session's, or a sample."""
    here = controls.pictures(text)
    others = {key: name for key, (_, name) in here.items() if key != session.current().picture.sha256}
    chosen = controls.choice("flow other", text("Minus another picture"), {None: text("nothing: this picture alone")} | others)
    return here[chosen][0] if chosen else None


def clusters(text: Text, analysis: Analysis, wanted: list[str]) -> dict[str, Clusters]:
    """The clusters of the wanted blocks, in the order of the network."""
    shown = {name: block for name, block in analysis.blocks.items() if name in wanted}
    method, count = controls.method_and_count(text, min(int((~b.correlation.constant).sum()) for b in shown.values()))
    return {name: results.clustered(text, analysis.without_target, name, block.correlation, method, count) for name, block in shown.items()}


def followed(text: Text, analysis: Analysis, found: Mapping[str, Clusters], measure: str, other: Picture | None) -> Followed:
    """What flows through the clusters `found` of the session's picture to the analysis' target, less what does on the other picture."""
    used = results.model(text)
    own = _follow(text, used, session.current().picture, analysis, found)
    beside = _follow(text, used, other, analysis, found) if other else None

    def draw(progress: Progress) -> nx.DiGraph:
        mine = library.graph(own, measure, against_chance=beside is None)
        return mine if beside is None else library.difference(mine, library.graph(beside, measure, against_chance=False))

    drawn = results.compute(text, used, "flow graph", (_key(analysis, found, other), "graph", measure), draw)
    return Followed(own, beside, other, drawn, measure)


def alone(text: Text, used: Model, picture: Picture, analysis: Analysis, found: Mapping[str, Clusters], measure: str) -> Followed:
    """What flows in any network on any picture to the analysis' target: one side of a comparison."""
    own = _follow(text, used, picture, analysis, found)
    key = (_key(analysis, found, picture), "graph alone", measure)
    return Followed(own, None, None, results.compute(text, used, "flow graph", key, lambda progress: library.graph(own, measure)), measure)


def _key(analysis: Analysis, found: Mapping[str, Clusters], picture: Picture | None) -> Hashable:
    digest = hashlib.sha256(b"".join(name.encode() + c.labels.tobytes() for name, c in found.items())).hexdigest()
    return ("flows", analysis.key, digest, picture.sha256 if picture else None)


def _follow(text: Text, used: Model, picture: Picture, analysis: Analysis, found: Mapping[str, Clusters]) -> Flows:
    labels = {name: c.labels for name, c in found.items()}

    def work(on: Model, progress: Progress) -> Flows:
        return library.follow(on, on.input(picture), labels, analysis.target, progress.tick)

    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(
        text, used, f"flows {picture.sha256}", _key(analysis, found, picture), here, library.evaluations(len(labels)), smaller
    )


def logit_name(text: Text, analysis: Analysis) -> str:
    """The class, or the two classes, whose logit is at the end."""
    names, target = analysis.class_names[text.language], analysis.target
    return names[target.index] if target.against is None else text("{a} minus {b}", a=names[target.index], b=names[target.against])


def legend(text: Text, shown: Followed) -> None:
    """What colours, widths and dashes mean, and how many edges are beyond chance."""
    st.caption(
        text(
            "Orange adds, blue takes away; a line is as wide as its share of all that flows into its end. "
            "All of it, with the biases, adds up to the number in the box."
        )
    )
    tested = [edge for _, _, edge in shown.graph.edges(data=True) if "q" in edge and not np.isnan(edge["q"])]
    if shown.beside is not None:
        st.caption(text("The clusters are those of the picture on show. The difference of two pictures has no p."))
    elif tested:
        beyond = sum(not drawing.by_chance(edge) for edge in tested)
        st.caption(
            text(
                "{found} of {n} lines are beyond chance and drawn solid, the rest dashed (adjusted p up to {level}). Chance is the same with clusters "
                "shuffled {draws} times among channels of one branch that are about as strong.",
                found=beyond, n=len(tested), draws=library.DRAWS, level=f"{LEVEL:.0%}",
            )
        )  # fmt: skip


def facts(text: Text, analysis: Analysis, shown: Followed, key: str = KEY) -> None:
    """What flows into the node that was clicked in the drawing of that key, and where on the picture."""
    node = graph.selected(key)
    if node not in shown.graph:
        st.info(text("Click a cluster, or press Enter on it, to see where on the picture it fires and what flows into it."))
        return
    known, logit = shown.graph.nodes[node], logit_name(text, analysis)
    told = drawing.name(node, known, text, logit)
    st.subheader(told if node == LOGIT else text("{name} of block {block}", name=told, block=known["block"]), anchor=False)
    left, right = st.columns(2) if key == KEY else (st.container(), st.container())  # half a page has no room for two columns
    with left:
        table(text, shown.graph, node, logit)
    with right:
        name, most = ("flows-maps", MOST_MAPS) if key == KEY else (f"{key} maps", 1)  # there, names of more would run into each other
        _maps(text, analysis.view, shown.own, node, shown.measure, name, most)
        if shown.beside is not None and shown.other is not None:
            st.caption(text("On the other picture:"))
            view = results.model(text).weights.preprocessing.view(shown.other)
            _maps(text, view, shown.beside, node, shown.measure, "flows-maps-other")


def table(text: Text, drawn: nx.DiGraph, node: str, logit: str) -> None:
    """Every edge into a node, the biases, and their sum."""
    known = drawn.nodes[node]
    if known["bias"] is None:
        st.caption(text("This is the first block on show: what flows into it is not followed."))
        return
    source, value, share = text("From"), text("Value"), text("Share")
    incoming = sorted(drawn.in_edges(node, data=True), key=lambda edge: -abs(edge[2]["value"]))
    rows = [
        {source: drawing.name(start, drawn.nodes[start], text, logit), value: f"{edge['value']:+.4g}", share: f"{edge['share']:.1%}"}
        | ({"z": f"{edge['z']:+.1f}", text("adjusted p"): f"{edge['q']:.3f}"} if "q" in edge else {})
        for start, _, edge in incoming
    ]
    total = sum(edge["value"] for _, _, edge in incoming) + known["bias"]
    rows += [{source: text("biases on the way"), value: f"{known['bias']:+.4g}"}, {source: text("sum"), value: f"{total:+.4g}"}]
    st.dataframe(rows, hide_index=True)
    st.caption(text("The network itself gives {value} here.", value=f"{known['value']:+.4g}"))


def _maps(text: Text, view: np.ndarray, own: Flows, node: str, measure: str, key: str, most: int = MOST_MAPS) -> None:
    """Where a node fires, and where the strongest of what flows into it arrives."""
    found = library.node_maps(own, node, measure, most)
    titles = [text.isolated(text("itself") if source is None else text("from cluster {n}", n=source + 1)) for source, _ in found]
    cells = grid(library.place(own, node), len(view))
    frame.show(maps.maps(view, [values for _, values in found], cells, titles, text, signed=True), key)
