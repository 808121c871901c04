"""The module graph drawn from left to right: the trunk as a line, an open block with one lane a branch. Always left to right: so does data flow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import networkx as nx
from plotly.colors import sample_colorscale

from inception_viz.architecture import Architecture, condensed
from inception_viz.errors import UnknownChoice
from inception_viz.figures import colours
from inception_viz.memory import remembered
from inception_viz.text import Text, message

BOX = (104, 46)
STEP = (138, 62)  # between columns and between lanes
MARGIN = 28
NUMBERS: Mapping[str, tuple[str, str]] = {  # what nodes may be coloured by: attribute, unit
    message("branch"): ("", ""),
    message("parameters"): ("parameters", message("parameters")),
    message("multiply-accumulates"): ("macs", message("MACs")),
    message("receptive field"): ("receptive_field", message("pixels")),
    message("channels"): ("channels", message("channels")),
}
OPERATIONS: Mapping[str, str] = {
    "input": message("picture"),
    "convolution": message("convolution"),
    "max pool": message("max pool"),
    "average pool": message("average pool"),
    "global average pool": message("global average"),
    "concatenate": message("concatenate"),
    "linear": message("linear layer"),
    "block": message("block"),
}


@dataclass(frozen=True)
class Drawing:
    """An SVG, its size in pixels, the ends of the colour scale (None when coloured by branch), and where to look first, in pixels from the left."""

    svg: str
    width: int
    height: int
    scale: tuple[float, float] | None
    focus: int


def _columns(graph: nx.DiGraph) -> dict[str, int]:
    """The longest way from the input to each node."""
    column: dict[str, int] = {}
    for node in nx.topological_sort(graph):
        column[node] = max((column[p] + 1 for p in graph.predecessors(node)), default=0)
    return column


def _lanes(graph: nx.DiGraph, column: Mapping[str, int]) -> dict[str, float]:
    """Lanes, 0 for the trunk: the branches of an open block lie one under the other around it, and a branch that splits takes more lanes."""
    lane: dict[str, float] = dict.fromkeys(graph, 0.0)
    blocks: dict[str, dict[str, list[str]]] = {}
    for node, facts in graph.nodes(data=True):
        if facts["branch"] is not None:
            blocks.setdefault(facts["block"], {}).setdefault(facts["branch"], []).append(node)
    for branches in blocks.values():
        tracks = {}
        for name, nodes in branches.items():
            columns = [column[n] for n in nodes]
            tracks[name] = max(columns.count(c) for c in columns)
        first = -(sum(tracks.values()) - 1) / 2
        for name, nodes in branches.items():
            for c in {column[n] for n in nodes}:
                together = [n for n in nodes if column[n] == c]
                top = first + (tracks[name] - len(together)) / 2
                lane.update({n: top + i for i, n in enumerate(together)})
            first += tracks[name]
    return lane


def _value(facts: Mapping, attribute: str) -> float:
    return float(facts["shape"][0] if attribute == "channels" else facts[attribute])


def _fills(graph: nx.DiGraph, attribute: str) -> tuple[dict[str, str], tuple[float, float] | None]:
    if not attribute:
        return {n: colours.branch(f["branch"]) if f["branch"] else colours.NEUTRAL for n, f in graph.nodes(data=True)}, None
    values = {n: _value(f, attribute) for n, f in graph.nodes(data=True)}
    positive = [v for v in values.values() if v > 0]
    low, high = min(positive), max(positive)
    span = math.log(high / low) or 1.0
    shares = {n: math.log(v / low) / span for n, v in values.items() if v > 0}
    return {n: sample_colorscale(colours.SEQUENTIAL, [shares[n]])[0] if n in shares else "#8885" for n in values}, (low, high)


def short(number: float) -> str:
    """A count in three digits at most: 6.6 M, 1.5 G.

    >>> short(1498376192)
    '1.5 G'
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number / size < 100 else f"{number / size:.0f} {unit}"
    return f"{number:.0f}"


def _title(node: str, facts: Mapping, text: Text) -> str:
    operation = text(OPERATIONS[facts["operation"]]) if facts["operation"] in OPERATIONS else facts["operation"]
    if facts["operation"] == "block":
        return f"{operation} {text.isolated(node)}"
    if max(facts["kernel"]) > 1 or facts["operation"] == "convolution":
        return f"{operation} {text.isolated('x'.join(map(str, facts['kernel'])))}"
    return operation


def _shape(facts: Mapping) -> str:
    return " × ".join(map(str, facts["shape"])) if len(facts["shape"]) < 3 or facts["shape"][1] > 1 else str(facts["shape"][0])


def _label(node: str, facts: Mapping, text: Text) -> str:
    return text(
        "{node}: {what}, {shape}, {parameters} parameters, {macs} multiply-accumulates, receptive field {field} pixels",
        node=node, what=_title(node, facts, text), shape=_shape(facts), parameters=short(facts["parameters"]), macs=short(facts["macs"]),
        field=facts["receptive_field"],
    )  # fmt: skip


def _stripes(architecture: Architecture, block: str, x: float, y: float) -> str:
    """The branches of a closed block, each as wide as its share of the channels."""
    found = architecture.block(block)
    parts = []
    for branch in found.branches:
        left, width = x + BOX[0] * branch.start / found.channels, BOX[0] * (branch.stop - branch.start) / found.channels
        parts.append(f'<rect x="{left:.1f}" y="{y + BOX[1] - 7}" width="{width:.1f}" height="7" fill="{colours.branch(branch.name)}"/>')
    return "".join(parts)


def _box(architecture: Architecture, node: str, facts: Mapping, place: tuple[float, float], fill: str, selected: bool, text: Text) -> str:
    x, y = place
    striped = facts["operation"] == "block"
    label = escape(_label(node, facts, text), quote=True)
    return (
        f'<g class="node{" selected" if selected else ""}" data-node="{escape(node, quote=True)}" tabindex="0" role="button" '
        f'aria-pressed="{"true" if selected else "false"}" aria-label="{label}"><title>{label}</title>'
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{BOX[0]}" height="{BOX[1]}" rx="9" style="--fill:{fill}"/>'
        f"{_stripes(architecture, node, x, y) if striped else ''}"
        f'<text class="what" direction="{text.direction}" x="{x + BOX[0] / 2:.1f}" y="{y + 19:.1f}">{escape(_title(node, facts, text))}</text>'
        f'<text class="shape" x="{x + BOX[0] / 2:.1f}" y="{y + 34:.1f}">{escape(_shape(facts))}</text></g>'
    )


def _frames(graph: nx.DiGraph, places: Mapping[str, tuple[float, float]]) -> str:
    """A frame with its name round every open block."""
    inside: dict[str, list[tuple[float, float]]] = {}
    for node, facts in graph.nodes(data=True):
        if facts["block"] is not None and facts["operation"] != "block":
            inside.setdefault(facts["block"], []).append(places[node])
    drawn = []
    for name, corners in inside.items():
        left, top = min(x for x, _ in corners) - 12, min(y for _, y in corners) - 24
        width, height = max(x for x, _ in corners) + BOX[0] + 12 - left, max(y for _, y in corners) + BOX[1] + 12 - top
        drawn.append(
            f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="12"/>'
            f'<text class="name" x="{left + 10:.1f}" y="{top + 16:.1f}">{escape(name)}</text>'
        )
    return "".join(drawn)


def _edge(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
    """Along its lane up to the last gap, and only there across the lanes: so that it passes under no box."""
    x0, y0, x1, y1 = start[0] + BOX[0], start[1] + BOX[1] / 2, end[0], end[1] + BOX[1] / 2
    gap = STEP[0] - BOX[0]
    turn, bend = x1 - gap, gap / 2
    curve = f"C{turn + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return f'<path class="edge" d="M{x0:.1f} {y0:.1f} H{turn:.1f} {curve}" style="--edge:{colour}"/>'


STYLE = (
    ".box{fill:color-mix(in srgb,var(--fill) 26%,transparent);stroke:var(--fill);stroke-width:1.5}.node{cursor:pointer;outline:none}"
    ".node:hover .box,.node:focus .box{stroke-width:3}.selected .box{fill:var(--fill);stroke-width:3}.selected text{fill:#fff}"
    "text{font:12px 'IBM Plex Sans','IBM Plex Sans Arabic',system-ui,sans-serif;fill:currentColor;text-anchor:middle}.shape{font-size:11px;opacity:.85}"
    ".name{text-anchor:start;font-weight:600}.frame{fill:color-mix(in srgb,currentColor 4%,transparent);stroke:color-mix(in srgb,currentColor 25%,transparent)}"
    ".edge{fill:none;stroke:var(--edge);stroke-width:1.6;opacity:.75}"
)


@remembered(64)
def draw(
    architecture: Architecture, text: Text, expanded: frozenset[str] = frozenset(), by: str = "branch", selected: str | None = None
) -> Drawing:
    """The graph as SVG: blocks of `expanded` open, nodes coloured `by` a key of NUMBERS, `selected` filled. Raises UnknownChoice."""
    if by not in NUMBERS:
        raise UnknownChoice(found=by, kind=message("colour"), allowed=", ".join(NUMBERS))
    graph = condensed(architecture, expanded)
    column = _columns(graph)
    lane = _lanes(graph, column)
    lowest = min(lane.values())
    places = {n: (MARGIN + STEP[0] * column[n], MARGIN + 20 + STEP[1] * (lane[n] - lowest)) for n in graph}
    fills, scale = _fills(graph, NUMBERS[by][0])
    width = round(max(x for x, _ in places.values()) + BOX[0] + MARGIN)
    height = round(max(y for _, y in places.values()) + BOX[1] + MARGIN)
    edges = "".join(_edge(places[a], places[b], _edge_colour(graph, a, b)) for a, b in graph.edges)
    boxes = "".join(_box(architecture, n, f, places[n], fills[n], n == selected, text) for n, f in graph.nodes(data=True))
    label = escape(text("Module graph of the network, from the picture on the left to the classes on the right"), quote=True)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="{label}" direction="ltr"><style>{STYLE}</style>{_frames(graph, places)}{edges}{boxes}</svg>'
    )
    inner = [places[n][0] for n, f in graph.nodes(data=True) if f["branch"]]
    return Drawing(svg, width, height, scale, round(min(inner, default=0)))


def _edge_colour(graph: nx.DiGraph, a: str, b: str) -> str:
    branch = graph.nodes[b]["branch"] or graph.nodes[a]["branch"]
    return colours.branch(branch) if branch else colours.NEUTRAL
