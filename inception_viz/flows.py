"""How much of a cluster comes from each cluster of an earlier block, on one picture: edges that add up exactly.

On one picture the network between two blocks is affine. Batch norm in evaluation scales and shifts each channel (folded into the convolution before
it: K' = K gamma / sqrt(var + eps)), a ReLU lets through or not, a max pool passes on the winner, and all of these are settled by the picture. So the
network is run on the parts of a block one by one, with the gates and winners of the whole picture: what the parts become adds up, with what the biases
become, to what the block becomes, through 1x1 reductions, pool branches and the pools between blocks alike.

That is gradient x activation over the whole way, and also what one gets by multiplying shares through the 1x1 reductions without a stabiliser (LRP-0;
Montavon et al. 2019, section 10.2). Shares themselves are never formed, since a hidden channel near zero would make them huge. Edges are signed: parts that
cancel are both large. Nothing is sampled, and nothing but the winner passes a max pool.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from inception_viz.activations import Target, Tick, capture, check_target, no_tick
from inception_viz.architecture import Architecture, Block, describe, traced
from inception_viz.errors import VisitorError
from inception_viz.models import Model, once_per_model
from inception_viz.nulls import adjusted
from inception_viz.text import message

DRAWS = 999
ALIKE = 8  # channels of one branch, next to each other in strength, among which the null shuffles the clusters
SEED = 0
ACTIVATION, TO_TARGET = "activation", "to_target"
MEASURES = {
    ACTIVATION: message("its activation, summed over positions"),
    TO_TARGET: message("what it gives to the class (logits)"),
}
CONSTANT = -1
LOGIT = "logit"


class NotExact(VisitorError):
    """An operation that is neither affine nor passes on one of its inputs."""

    words = message(
        "What flows from block {source} to {target} cannot be told apart exactly: “{found}” is neither linear nor passes on one of its inputs."
    )


class Bypassed(VisitorError):
    """A block that is reached on ways round the one before it."""

    words = message(
        "Block {target} is not made from block {source} alone: “{found}” comes to it on another way, so the parts would not add up."
    )


def _both_ends(rows: Tensor, shift: Tensor | None) -> Tensor:
    """Rows with a shift `(C,)` added to the picture's (the first) and to the biases' (the last), and to no part's."""
    if shift is not None:
        rows[[0, -1]] += shift if rows.ndim == 2 else shift[:, None, None]
    return rows


def _convolution(layer: nn.Conv2d, rows: Tensor) -> Tensor:
    return _both_ends(layer._conv_forward(rows, layer.weight, None), layer.bias)


def _linear(layer: nn.Linear, rows: Tensor) -> Tensor:
    return _both_ends(functional.linear(rows, layer.weight), layer.bias)


def _batch_norm(layer: nn.BatchNorm2d, rows: Tensor) -> Tensor:
    assert layer.running_mean is not None, "a batch norm without statistics depends on the batch"
    assert layer.running_var is not None
    scale = (layer.running_var + layer.eps).rsqrt() * (1 if layer.weight is None else layer.weight)
    shift = (0 if layer.bias is None else layer.bias) - layer.running_mean * scale
    return _both_ends(rows * scale[:, None, None], shift)


def _relu(rows: Tensor, *_: object, **__: object) -> Tensor:
    return rows * (rows[:1] > 0)


def _max_pool(rows: Tensor, *arguments: object, **named: object) -> Tensor:
    """Every row's value at the place that wins in the picture's row, the first of equal ones."""
    _, winners = functional.max_pool2d(rows[:1], *arguments, **(named | {"return_indices": True}))  # type: ignore[call-overload]
    chosen = rows.flatten(2).gather(2, winners.flatten(2).expand(len(rows), -1, -1))
    return chosen.unflatten(2, winners.shape[2:])


def _max_pool_layer(layer: nn.MaxPool2d, rows: Tensor) -> Tensor:
    return _max_pool(rows, layer.kernel_size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode)


def _as_it_is(layer: nn.Module, rows: Tensor) -> Tensor:
    return layer(rows)


LAYERS: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv2d: _convolution, nn.Linear: _linear, nn.BatchNorm2d: _batch_norm, nn.MaxPool2d: _max_pool_layer,
    nn.ReLU: lambda layer, rows: _relu(rows), nn.AvgPool2d: _as_it_is, nn.AdaptiveAvgPool2d: _as_it_is, nn.Flatten: _as_it_is,
    nn.Dropout: _as_it_is, nn.Identity: _as_it_is,
}  # fmt: skip
LINEAR_FUNCTIONS = (functional.avg_pool2d, functional.adaptive_avg_pool2d, torch.flatten, torch.cat)
FUNCTIONS: Mapping[object, Callable[..., Tensor]] = {functional.relu: _relu, torch.relu: _relu, functional.max_pool2d: _max_pool} | {
    function: function for function in LINEAR_FUNCTIONS
}


class _Parts(fx.Interpreter):
    """Runs a graph on rows: first the picture's own values, then one row a part, last what the biases alone become."""

    def call_module(self, target: fx.node.Target, args: tuple, kwargs: dict) -> Tensor:
        layer = self.fetch_attr(str(target))
        return LAYERS[type(layer)](layer, *args)

    def call_function(self, target: fx.node.Target, args: tuple, kwargs: dict) -> Tensor:
        return FUNCTIONS[target](*args, **kwargs)


@once_per_model
def _traced(model: Model) -> tuple[fx.GraphModule, dict[str, str]]:
    return traced(model.network)


def _name(architecture: Architecture, node: str) -> str:
    return next((b.name for b in architecture.blocks if b.node == node), node)


def _way(model: Model, source: str, target: str) -> fx.GraphModule:
    """The network from the node `source` to the node `target` as a graph of its own. Raises NotExact, Bypassed."""
    architecture = describe(model)
    told = {"source": _name(architecture, source), "target": _name(architecture, target)}
    module, names = _traced(model)
    inside = (nx.descendants(architecture.graph, source) & nx.ancestors(architecture.graph, target)) | {target}
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        name = names[node.name]
        if name == source:
            copied[node] = graph.placeholder("parts")
        elif name in inside:
            strange = [names[n.name] for n in node.all_input_nodes if n not in copied]
            if strange:
                raise Bypassed(found=strange[0], **told)
            known = type(module.get_submodule(str(node.target))) in LAYERS if node.op == "call_module" else node.target in FUNCTIONS
            if not known:
                raise NotExact(found=name, **told)
            copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.output(next(copied[n] for n in module.graph.nodes if names[n.name] == target))
    return fx.GraphModule(model.network, graph)


def split(model: Model, activation: Tensor, source: str, parts: np.ndarray, target: str) -> Tensor:
    """What the node `target` has, from what: rows `(2 + P, ...)`, the picture's own values, what each of P parts gives, and what biases give.

    `activation` (1, C, H, W) is that of the node `source`; `parts` (P, C) bool says which of its channels are in each part. If every channel is
    in one part, all rows but the first add up to the first. Raises NotExact, Bypassed.
    """
    masks = torch.from_numpy(parts).to(activation)[:, :, None, None]
    rows = torch.cat([activation, activation * masks, torch.zeros_like(activation)])
    with torch.inference_mode():
        return _Parts(_way(model, source, target)).run(rows)


def groups(labels: np.ndarray) -> np.ndarray:
    """Which channels are in each cluster, `(clusters + 1, C)` bool; the last row has the constant channels, so that none is missing."""
    return np.concatenate([labels[None] == np.arange(labels.max(initial=-1) + 1)[:, None], labels[None] == CONSTANT])


@dataclass(frozen=True, eq=False)
class Hop:
    """What flows from `source` to `target` (a block, or LOGIT), by a key of MEASURES.

    `given[measure]` is `(sources + 1, C)`: what each cluster of the source, then its constant channels, and last the biases on the way, give to each
    channel of the target, summed over positions (for LOGIT there is one channel, the target's logit). `maps[measure]` (sources + 1, targets, H, W)
    is what they give to each cluster of the target, then to its constant channels, by position; there is none for LOGIT.
    """

    source: str
    target: str
    given: Mapping[str, np.ndarray]
    maps: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Station:
    """A block on the way: its clusters' `labels` (C,), `values[measure]` (C,) of its channels, `maps[measure]` (groups, H, W) of its clusters."""

    block: Block
    labels: np.ndarray
    values: Mapping[str, np.ndarray]
    maps: Mapping[str, np.ndarray]

    @cached_property
    def groups(self) -> np.ndarray:
        """Which channels are in each cluster and, last, constant: `(groups, C)` bool."""
        return groups(self.labels)


@dataclass(frozen=True, eq=False)
class Flows:
    """What flows through the clusters of some blocks of one picture to the logit of `target`, whose own value is `logit`."""

    stations: tuple[Station, ...]
    hops: tuple[Hop, ...]
    target: Target
    logit: float

    def edges(self, hop: int, measure: str) -> np.ndarray:
        """What each source (clusters, constant channels, biases) gives to each group of the target: `(sources + 1, targets)`."""
        given = self.hops[hop].given[measure]
        return given if self.hops[hop].target == LOGIT else given @ self.stations[hop + 1].groups.T.astype(given.dtype)

    def values(self, station: int, measure: str) -> np.ndarray:
        """What each group of a block has itself, `(groups,)`: the sum of its edges from the block before."""
        return self.stations[station].groups @ self.stations[station].values[measure]


def _array(tensor: Tensor) -> np.ndarray:
    array = tensor.float().cpu().numpy()
    array.setflags(write=False)
    return array


def _station(block: Block, labels: np.ndarray, activation: Tensor, gradient: Tensor) -> Station:
    own = {ACTIVATION: activation, TO_TARGET: activation * gradient}
    return Station(
        block,
        labels,
        {measure: _array(maps.sum((1, 2))) for measure, maps in own.items()},
        {measure: _sums(maps[None], labels)[0] for measure, maps in own.items()},
    )


def _sums(maps: Tensor, labels: np.ndarray) -> np.ndarray:
    """Maps `(N, C, H, W)` summed over the channels of each group: `(N, groups, H, W)`."""
    member = torch.from_numpy(groups(labels)).to(maps)
    return _array(torch.einsum("nchw,gc->nghw", maps, member))


def follow(model: Model, inputs: Tensor, labels: Mapping[str, np.ndarray], target: Target | None = None, tick: Tick = no_tick) -> Flows:
    """What flows on one picture, `inputs` (1, 3, S, S), through the clusters of some blocks (name -> labels) and on to the target's logit.

    The target is the likeliest class unless one is given. Between blocks that are not neighbours everything on the way is passed through. Raises
    UnknownChoice, NoSuchClass, NotExact, Bypassed.
    """
    architecture = describe(model)
    if target is not None:
        check_target(target, model.classes)
    blocks = [b for b in architecture.blocks if b.name in {architecture.block(name).name for name in labels}]
    tick()
    taken = capture(model, inputs, target)
    aim = taken.targets[0]
    stations = [_station(b, labels[b.name], taken.activations[b.name][0], taken.gradients[b.name][0]) for b in blocks]
    hops = []
    for here, there in pairwise(stations):
        tick()
        rows = split(model, taken.activations[here.block.name], here.block.node, here.groups, there.block.node)[1:]
        weighed = {ACTIVATION: rows, TO_TARGET: rows * taken.gradients[there.block.name]}
        given = {measure: _array(r.sum((2, 3))) for measure, r in weighed.items()}
        maps = {measure: _sums(r, there.labels) for measure, r in weighed.items()}
        hops.append(Hop(here.block.name, there.block.name, given, maps))
    last = stations[-1]
    tick()
    rows = split(model, taken.activations[last.block.name], last.block.node, last.groups, architecture.logits_node)[1:]
    to_logit = _array(aim.of(rows)[:, None])
    hops.append(Hop(last.block.name, LOGIT, dict.fromkeys(MEASURES, to_logit), {}))
    return Flows(tuple(stations), tuple(hops), aim, float(aim.of(taken.logits[0])))


def evaluations(blocks: int) -> int:
    """How often `follow` ticks for so many blocks."""
    return blocks + 1


def alike(block: Block, strength: np.ndarray) -> np.ndarray:
    """Which channels are like each other, `(C,)` int: of one branch, and among ALIKE next to each other in strength `(C,)`."""
    kinds = np.empty(len(strength), int)
    first = 0
    for branch in range(len(block.branches)):
        order = np.flatnonzero(block.branch_of == branch)
        order = order[np.argsort(strength[order], kind="stable")]
        kinds[order] = first + np.arange(len(order)) // ALIKE
        first = kinds[order].max(initial=first) + 1
    return kinds


def shuffled(labels: np.ndarray, kinds: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Labels `(C,)` shuffled among channels of one kind, `(draws, C)`: clusters as large, as strong, from the same branches, but of no sense."""
    generator = np.random.default_rng(seed)
    live = np.flatnonzero(labels != CONSTANT)
    drawn = np.tile(labels, (draws, 1))
    places = live[np.argsort(kinds[live], kind="stable")]
    for row in drawn:
        row[places] = labels[live[np.lexsort((generator.random(len(live)), kinds[live]))]]
    return drawn


@dataclass(frozen=True, eq=False)
class Chance:
    """Edges beside those of shuffled clusters, each `(sources + 1, targets)`: standard deviations `z` from their mean, p (two-sided) and adjusted p.

    nan where the shuffled clusters are all alike, and for constant channels and biases of the source's side of a logit.
    """

    z: np.ndarray
    p: np.ndarray
    q: np.ndarray


def chance(flows: Flows, hop: int, measure: str, draws: int = DRAWS) -> Chance:
    """What of a hop's edges is due to the clusters, and not to their branches, sizes and strength alone.

    The target's clusters are shuffled among channels of one branch and about one strength; towards the logit the source's are.
    """
    to_logit = flows.hops[hop].target == LOGIT
    station = flows.stations[hop if to_logit else hop + 1]
    real = flows.edges(hop, measure)
    given = station.values[TO_TARGET][None] if to_logit else flows.hops[hop].given[measure]
    others = shuffled(station.labels, alike(station.block, station.values[ACTIVATION]), draws)
    drawn = np.stack([given @ groups(row).T.astype(given.dtype) for row in others])  # (draws, sources + 1, targets)
    if to_logit:
        drawn = np.concatenate([drawn.transpose(0, 2, 1), np.full((draws, 1, 1), np.nan)], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, spread = drawn.mean(0), drawn.std(0, ddof=1)
        noise = 1e-5 * np.abs(given).sum(-1).max(initial=0)  # of adding float32 in another order
        known = spread > noise
        z = np.where(known, (real - mean) / spread, np.nan)
        p = np.where(known, (1 + (np.abs(drawn - mean) >= np.abs(real - mean) - noise).sum(0)) / (1 + draws), np.nan)
    return Chance(z, p, adjusted(p))


def node_name(block: str, group: int) -> str:
    """The name of a cluster in the graph: its block and its number, counted from 1, or 0 for the constant channels."""
    return f"{block}/{group + 1}"


def graph(flows: Flows, measure: str = ACTIVATION, against_chance: bool = True) -> nx.DiGraph:
    """The flows as a layered graph: `layer`, `block`, `cluster`, `size`, `value`, `bias` of nodes; `value`, `share`, `z`, `p`, `q` of edges.

    A share is that of all that flows into the node, biases included, whatever its sign. Constant channels are drawn where they give something.
    """
    drawn = nx.DiGraph(measure=measure)
    for layer, station in enumerate(flows.stations):
        values, sizes = flows.values(layer, measure), station.groups.sum(1)
        for index, (value, size) in enumerate(zip(values.tolist(), sizes.tolist(), strict=True)):
            cluster = index if index < len(values) - 1 else CONSTANT
            table = np.bincount(station.block.branch_of[station.groups[index]], minlength=len(station.block.branches))
            branches = {b.name: int(n) for b, n in zip(station.block.branches, table, strict=True)}
            drawn.add_node(
                node_name(station.block.name, cluster),
                layer=layer, block=station.block.name, cluster=cluster, size=size, value=value, bias=None, branches=branches,
            )  # fmt: skip
    drawn.add_node(LOGIT, layer=len(flows.stations), block=None, cluster=None, size=1, value=flows.logit, bias=None, branches={})
    for index in range(len(flows.hops)):
        _join(drawn, flows, index, chance(flows, index, measure) if against_chance else None)
    idle = [n for n, f in drawn.nodes(data=True) if f["cluster"] == CONSTANT and not f["value"] and not _passes(drawn, n)]
    drawn.remove_nodes_from(idle)
    return drawn


def _passes(drawn: nx.DiGraph, node: str) -> bool:
    return any(value for _, _, value in [*drawn.in_edges(node, data="value"), *drawn.out_edges(node, data="value")])


def _join(drawn: nx.DiGraph, flows: Flows, hop: int, beside: Chance | None) -> None:
    """Write one hop's edges, and the biases that its targets get, into the graph."""
    edges, (source, target) = flows.edges(hop, drawn.graph["measure"]), (flows.hops[hop].source, flows.hops[hop].target)
    total = np.abs(edges).sum(0)
    from_names = _names(source, len(edges) - 1)
    to_names = [LOGIT] if target == LOGIT else _names(target, edges.shape[1])
    for j, end in enumerate(to_names):
        drawn.nodes[end]["bias"] = float(edges[-1, j])
        for i, start in enumerate(from_names):
            share = float(np.abs(edges[i, j]) / total[j]) if total[j] else 0.0
            numbers = {} if beside is None else {name: float(getattr(beside, name)[i, j]) for name in ("z", "p", "q")}
            drawn.add_edge(start, end, value=float(edges[i, j]), share=share, **numbers)


def _names(block: str, count: int) -> Sequence[str]:
    return [node_name(block, k) for k in [*range(count - 1), CONSTANT]]


def node_maps(flows: Flows, node: str, measure: str, most: int) -> list[tuple[int | None, np.ndarray]]:
    """Maps `(H, W)` of a node of the graph: its own (None), then what arrives from each of the `most` strongest clusters before it (their index).

    What arrives lies on the node's own positions. The logit has no positions: its maps are where the last block's strongest clusters give to it.
    """
    if node == LOGIT:
        last = flows.stations[-1]
        return [(k, last.maps[TO_TARGET][k]) for k in _strongest(flows.edges(len(flows.hops) - 1, TO_TARGET)[:-2, 0], most)]
    block, number = node.rsplit("/", 1)
    index, group = [s.block.name for s in flows.stations].index(block), int(number) - 1
    found: list[tuple[int | None, np.ndarray]] = [(None, flows.stations[index].maps[measure][group])]
    if index:
        edges = flows.edges(index - 1, measure)[:-2, group]
        found += [(k, flows.hops[index - 1].maps[measure][k, group]) for k in _strongest(edges, most)]
    return found


def place(flows: Flows, node: str) -> Block:
    """The block on whose positions the maps of a node of the graph lie."""
    if node == LOGIT:
        return flows.stations[-1].block
    return next(s.block for s in flows.stations if s.block.name == node.rsplit("/", 1)[0])


def _strongest(values: np.ndarray, most: int) -> list[int]:
    order = np.argsort(-np.abs(values), kind="stable")[:most]
    return [int(i) for i in order if values[i]]


def difference(a: nx.DiGraph, b: nx.DiGraph) -> nx.DiGraph:
    """What graph `a` has more than `b`, of the same clusters: values and biases subtracted, shares of all that differs in a node's input.

    There is no p: two pictures are no sample.
    """
    drawn = nx.DiGraph(measure=a.graph["measure"])
    for node in [*a, *(n for n in b if n not in a)]:
        one, other = a.nodes.get(node), b.nodes.get(node)
        facts = one or other
        bias = [side["bias"] if side else 0.0 for side in (one, other)]
        drawn.add_node(node, **facts)
        drawn.nodes[node].update(
            value=(one["value"] if one else 0.0) - (other["value"] if other else 0.0), bias=None if None in bias else bias[0] - bias[1]
        )
    for start, end in {**dict.fromkeys(a.edges), **dict.fromkeys(b.edges)}:
        values = [side.edges[start, end]["value"] if side.has_edge(start, end) else 0.0 for side in (a, b)]
        drawn.add_edge(start, end, value=values[0] - values[1])
    for node, facts in drawn.nodes(data=True):
        total = sum(abs(value) for _, _, value in drawn.in_edges(node, data="value")) + abs(facts["bias"] or 0.0)
        for _, _, edge in drawn.in_edges(node, data=True):
            edge["share"] = abs(edge["value"]) / total if total else 0.0
    return drawn


def _plain(numbers: np.ndarray) -> list[list[float | None]]:
    return [[float(value) if np.isfinite(value) else None for value in row] for row in numbers]


def summary(flows: Flows) -> list[dict]:
    """The edges as plain numbers, one entry a hop, with their adjusted p.

    Rows are the source's clusters, its constant channels, and the biases on the way (which have no p); columns are the target's clusters and its
    constant channels, or the one logit.
    """
    told = []
    for index, hop in enumerate(flows.hops):
        entry: dict = {"source": hop.source, "target": hop.target}
        for measure in [TO_TARGET] if hop.target == LOGIT else MEASURES:
            beside = chance(flows, index, measure)
            entry[measure] = {"edges": _plain(flows.edges(index, measure)), "adjusted_p": _plain(beside.q[:-1])}
        told.append(entry)
    return told
