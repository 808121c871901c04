"""Flows as a layered graph: a column a block, a box a cluster, lines as wide as the share that flows. Left to right in every language: so does data."""

from collections.abc import Mapping
from html import escape

import networkx as nx

from inception_viz.figures import colours
from inception_viz.figures.architecture import Drawing
from inception_viz.flows import ACTIVATION, CONSTANT, LOGIT
from inception_viz.nulls import LEVEL
from inception_viz.text import Text

BOX = (124, 38)
STEP = (226, 50)  # between columns and between boxes
MARGIN, HEAD = 12, 34
WIDEST = 18  # pixels, of a line with all that flows into its end
FAINTEST = 0.01  # share below which not even a chosen node's line is drawn
STYLE = (
    ".box{fill:color-mix(in srgb,var(--fill) var(--much),transparent);stroke:var(--fill);stroke-width:1.5}.node{cursor:pointer;outline:none}"
    ".node:hover .box,.node:focus .box{stroke-width:3.5}.selected .box{stroke-width:4}"
    "text{font:12px 'IBM Plex Sans','IBM Plex Sans Arabic',system-ui,sans-serif;fill:currentColor;text-anchor:middle}"
    ".shape{font-size:11px;opacity:.85}.name{font-weight:600;font-size:14px}"
    ".edge{fill:none;stroke:var(--edge);opacity:.55}.edge:hover{opacity:.95}.chance{stroke-dasharray:5 4;opacity:.4}.aside{opacity:.1}"
)


def _layers(graph: nx.DiGraph) -> list[list[str]]:
    """The nodes of each layer, from the top down: the last ones by value, those before near what they flow to."""
    layers = [list(nodes) for nodes in nx.utils.groups(dict(graph.nodes(data="layer"))).values()]
    layers.sort(key=lambda nodes: graph.nodes[nodes[0]]["layer"])
    place = {LOGIT: 0.0}
    for nodes in reversed(layers):
        if nodes == [LOGIT]:
            continue
        if all(graph.has_edge(n, LOGIT) for n in nodes):
            nodes.sort(key=lambda n: -graph.edges[n, LOGIT]["value"])
        else:
            nodes.sort(key=lambda n: _middle(graph, n, place))
        place |= {n: (i + 0.5) / len(nodes) for i, n in enumerate(nodes)}
    return layers


def _middle(graph: nx.DiGraph, node: str, place: Mapping[str, float]) -> float:
    ends = [(place[end], edge["share"]) for _, end, edge in graph.out_edges(node, data=True)]
    total = sum(share for _, share in ends)
    return sum(p * share for p, share in ends) / total if total else 1.0


def _places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    layers = _layers(graph)
    tallest = max(map(len, layers))
    return {
        node: (MARGIN + STEP[0] * column, HEAD + STEP[1] * ((tallest - len(nodes)) / 2 + row))
        for column, nodes in enumerate(layers)
        for row, node in enumerate(nodes)
    }


def name(node: str, facts: Mapping, text: Text, logit: str) -> str:
    """What a node is called: a cluster, a block's constant channels, or the logit, whose class is `logit`."""
    if node == LOGIT:
        return text("Logit of {name}", name=logit)
    return text("constant channels") if facts["cluster"] == CONSTANT else text("cluster {n}", n=facts["cluster"] + 1)


def _label(node: str, facts: Mapping, text: Text, logit: str) -> str:
    if node == LOGIT:
        return f"{name(node, facts, text, logit)}: {text.isolated(_signed(facts['value']))}"
    return text(
        "block {block}, {name}: {value}, {size} channels",
        block=facts["block"], name=name(node, facts, text, logit), value=_signed(facts["value"]), size=facts["size"],
    )  # fmt: skip


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 999.5 else f"{value:+.3g}"


def _much(graph: nx.DiGraph) -> dict[str, float]:
    """How strongly each node is filled, 0 to 1: by its value's share of the highest, of its own layer where layers have no common unit."""
    values = {n: abs(v) for n, v in graph.nodes(data="value") if n != LOGIT}
    layer = dict(graph.nodes(data="layer"))
    common = graph.graph["measure"] != ACTIVATION
    top = {n: max(v for m, v in values.items() if common or layer[m] == layer[n]) for n in values}
    return {n: v / top[n] if top[n] else 0.0 for n, v in values.items()} | {LOGIT: 0.0}


def _stripes(facts: Mapping, x: float, y: float) -> str:
    """The cluster's channels by branch."""
    parts, left = [], x + 8
    for branch, count in facts["branches"].items():
        width = (BOX[0] - 16) * count / facts["size"] if facts["size"] else 0
        if width:
            parts.append(f'<rect x="{left:.1f}" y="{y + BOX[1] - 6}" width="{width:.1f}" height="4" fill="{colours.branch(branch)}"/>')
        left += width
    return "".join(parts)


def _box(node: str, facts: Mapping, place: tuple[float, float], much: float, selected: bool, text: Text, logit: str) -> str:
    x, y = place
    fill = colours.NEUTRAL if node == LOGIT else colours.POSITIVE if facts["value"] >= 0 else colours.NEGATIVE
    label = escape(_label(node, facts, text, logit), quote=True)
    shown = text("logit") if node == LOGIT else name(node, facts, text, logit)
    return (
        f'<g class="node{" selected" if selected else ""}" data-node="{escape(node, quote=True)}" tabindex="0" role="button" '
        f'aria-pressed="{"true" if selected else "false"}" aria-label="{label}"><title>{label}</title>'
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{BOX[0]}" height="{BOX[1]}" rx="8" style="--fill:{fill};--much:{60 * much:.0f}%"/>'
        f'{_stripes(facts, x, y)}<text class="what" direction="{text.direction}" x="{x + BOX[0] / 2:.1f}" y="{y + 15:.1f}">{escape(shown)}</text>'
        f'<text class="shape" x="{x + BOX[0] / 2:.1f}" y="{y + 28:.1f}">{_signed(facts["value"])}</text></g>'
    )


def _told(graph: nx.DiGraph, start: str, end: str, text: Text, logit: str) -> str:
    edge = graph.edges[start, end]
    ends = [_label(n, graph.nodes[n], text, logit) for n in (start, end)]
    return text(
        "from {a} to {b}: {value}, {share} of what flows in",
        a=ends[0],
        b=ends[1],
        value=_signed(edge["value"]),
        share=f"{edge['share']:.0%}",
    )


def by_chance(edge: Mapping) -> bool:
    """Whether an edge was held against shuffled clusters and is no more than theirs."""
    return "q" in edge and not edge["q"] <= LEVEL


def _edge(graph: nx.DiGraph, start: str, end: str, places: Mapping[str, tuple[float, float]], aside: bool, text: Text, logit: str) -> str:
    edge = graph.edges[start, end]
    x0, y0, x1, y1 = places[start][0] + BOX[0], places[start][1] + BOX[1] / 2, places[end][0], places[end][1] + BOX[1] / 2
    bend = (x1 - x0) / 2
    colour = colours.POSITIVE if edge["value"] >= 0 else colours.NEGATIVE
    kind = "edge" + (" aside" if aside else " chance" if by_chance(edge) else "")
    return (
        f'<path class="{kind}" d="M{x0:.1f} {y0:.1f} C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}" '
        f'style="--edge:{colour}" stroke-width="{max(1.0, WIDEST * edge["share"]):.1f}"><title>{escape(_told(graph, start, end, text, logit))}</title></path>'
    )


def draw(graph: nx.DiGraph, text: Text, logit: str, least: float = 0.1, selected: str | None = None) -> Drawing:
    """A graph of `flows.graph` or `flows.difference` as SVG, with the edges that carry at least the share `least` of what flows into their end.

    Lines and boxes are orange above zero and blue below; dashed lines are no more than those of shuffled clusters. Of a `selected` node all edges
    are drawn, and the others step aside. `logit` is the class's name.
    """
    places, much = _places(graph), _much(graph)
    chosen = selected if selected in graph else None
    shown = [(a, b) for a, b, share in graph.edges(data="share") if share >= (FAINTEST if chosen in (a, b) else least)]
    shown.sort(key=lambda ends: (chosen in ends, graph.edges[ends]["share"]))
    edges = "".join(_edge(graph, a, b, places, chosen is not None and chosen not in (a, b), text, logit) for a, b in shown)
    boxes = "".join(_box(n, f, places[n], much[n], n == chosen, text, logit) for n, f in graph.nodes(data=True))
    heads = {facts["block"]: places[node][0] for node, facts in graph.nodes(data=True) if facts["block"] is not None}
    named = "".join(
        f'<text class="name" direction="{text.direction}" x="{x + BOX[0] / 2:.1f}" y="18">{escape(text("block {name}", name=block))}</text>'
        for block, x in heads.items()
    )
    width = round(max(x for x, _ in places.values()) + BOX[0] + MARGIN)
    height = round(max(y for _, y in places.values()) + BOX[1] + MARGIN)
    label = escape(text("Flows between the clusters of {n} blocks, on to the class on the right", n=len(heads)), quote=True)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="{label}" direction="ltr"><style>{STYLE}</style>{edges}{boxes}{named}</svg>'
    )
    return Drawing(svg, width, height, None, 0)
