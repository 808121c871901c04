"""The module graph of a network: every operation with its shape, parameters, multiply-accumulates and receptive field, in blocks and branches.

A block (Inception module) is found by one rule, in GoogLeNet and Inception v3 alike: a concatenation of sub-graphs that hold convolutions and
spring from one tensor. Its branches are those sub-graphs; each is a slice of the channels of the block's output.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.feature_extraction import NodePathTracer

from inception_viz.errors import UnknownChoice
from inception_viz.memory import remembered
from inception_viz.models import Model, once_per_model
from inception_viz.text import message

GOOGLENET_BRANCHES = {"branch1": "1x1", "branch2": "3x3", "branch3": "5x5", "branch4": "pool"}
FIVE_IS_THREE = message("torchvision's “5x5” branch is really a 3x3 convolution (a known slip, kept so that published weights fit).")
_OPERATIONS: tuple[tuple[str, str], ...] = (
    ("batch_norm", "batch norm"), ("batchnorm", "batch norm"), ("conv", "convolution"), ("relu", "relu"),
    ("adaptiveavgpool", "global average pool"), ("adaptive_avg", "global average pool"), ("maxpool", "max pool"), ("max_pool", "max pool"),
    ("avgpool", "average pool"), ("avg_pool", "average pool"), ("cat", "concatenate"), ("linear", "linear"), ("dropout", "dropout"),
    ("flatten", "flatten"),
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """What the position (0, 0) of a map is computed from: input pixels `top:bottom` and `left:right`, which reach into the padding around the picture.

    Each position further down or right it lies `down` or `across` pixels further. Every pixel counts alike here; what the network
    really uses of it lies mostly in the middle (Luo et al. 2016).
    """

    top: int
    bottom: int
    left: int
    right: int
    down: int
    across: int

    def at(self, row: int, column: int, side: int) -> tuple[int, int, int, int]:
        """The field of a position, cut to a picture of `side` x `side`: top, bottom, left, right, `top:bottom` and `left:right` as in a slice."""
        places = (
            self.top + row * self.down,
            self.bottom + row * self.down,
            self.left + column * self.across,
            self.right + column * self.across,
        )
        top, bottom, left, right = (min(max(place, 0), side) for place in places)
        return top, bottom, left, right

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """The middle of the field of a position, in pixels from the top and from the left."""
        return (self.top + self.bottom) / 2 + row * self.down, (self.left + self.right) / 2 + column * self.across

    def with_all(self, others: Iterable["Field"]) -> "Field":
        """The smallest field that holds this one and the others, of equal steps."""
        all_ = (self, *others)
        return Field(
            min(f.top for f in all_), max(f.bottom for f in all_), min(f.left for f in all_), max(f.right for f in all_),
            max(f.down for f in all_), max(f.across for f in all_),
        )  # fmt: skip


@dataclass(frozen=True)
class Branch:
    """One branch: its name, and its channels `start:stop` of the block's output; `note` says what a reader should know.

    `field` is its receptive field; None where the branch was read from a file.
    """

    name: str
    start: int
    stop: int
    note: str = ""
    field: Field | None = None


@dataclass(frozen=True)
class Block:
    """One Inception module: the graph node of its output, that output's size, its branches, and the node that it reads."""

    name: str
    node: str
    channels: int
    height: int
    width: int
    branches: tuple[Branch, ...]
    source: str

    @cached_property
    def branch_of(self) -> np.ndarray:
        """The index of each channel's branch: `(channels,)` int."""
        return np.repeat(np.arange(len(self.branches)), [b.stop - b.start for b in self.branches])

    @property
    def module(self) -> str:
        """The name of the module whose output the block is."""
        return self.node.rsplit(".", 1)[0]


@dataclass(frozen=True, eq=False)
class Architecture:
    """The graph (a networkx DiGraph of operations in topological order) and the blocks found in it."""

    graph: nx.DiGraph
    blocks: tuple[Block, ...]
    input_side: int
    logits_node: str

    def block(self, name: str) -> Block:
        """The block of that name. Raises UnknownChoice."""
        for block in self.blocks:
            if block.name == name:
                return block
        raise UnknownChoice(found=name, kind=message("block"), allowed=", ".join(b.name for b in self.blocks))

    @cached_property
    def parameters(self) -> int:
        """How many parameters the network has."""
        return sum(facts["parameters"] for _, facts in self.graph.nodes(data=True))

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one picture of `input_side`, convolutions and linear layers."""
        return sum(facts["macs"] for _, facts in self.graph.nodes(data=True))


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor, without the picture's dimension."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape[1:])
        return result


def traced(network: nn.Module) -> tuple[fx.GraphModule, dict[str, str]]:
    """The network as an fx graph, and the qualified name (as in `create_feature_extractor`) of every fx node."""
    tracer = NodePathTracer()
    graph = tracer.trace(network)
    names = {node.name: tracer.node_to_qualname.get(node, node.name) for node in graph.nodes}
    return fx.GraphModule(tracer.root, graph), names


def _shapes(module: fx.GraphModule, side: int) -> dict[str, tuple[int, ...]]:
    run = _Shapes(module)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        run.run(torch.empty(1, 3, side, side))
    return run.shapes


def _operation(node: fx.Node, layer: nn.Module | None) -> str:
    name = type(layer).__name__.lower() if layer is not None else getattr(node.target, "__name__", str(node.target))
    return next((operation for part, operation in _OPERATIONS if part in name), "rescale" if node.op == "call_function" else name)


def _pair(value: object) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))  # type: ignore[call-overload]


def _is_pool(node: fx.Node) -> bool:
    """Whether it is a pooling function with a window; max_pool2d's own text says only what dispatches it, its name says more."""
    name = f"{getattr(node.target, '__name__', '')} {node.target}"
    return node.op == "call_function" and "pool2d" in name and "adaptive" not in name


def _window(node: fx.Node, layer: nn.Module | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and stride of a convolution or pooling, (1, 1) twice for anything else."""
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return _pair(layer.kernel_size), _pair(layer.stride)
    if _is_pool(node):
        kernel = node.kwargs.get("kernel_size", node.args[1] if len(node.args) > 1 else 1)
        stride = node.kwargs.get("stride", node.args[2] if len(node.args) > 2 else kernel)
        return _pair(kernel), _pair(stride)
    return (1, 1), (1, 1)


def _padding(node: fx.Node, layer: nn.Module | None) -> tuple[int, int]:
    """What a convolution or pooling adds above and on the left; what it adds below and on the right changes no field."""
    if isinstance(layer, nn.Conv2d) and isinstance(layer.padding, str):
        return _pair([(k - 1) // 2 for k in layer.kernel_size] if layer.padding == "same" else 0)
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return _pair(layer.padding)
    if _is_pool(node):
        return _pair(node.kwargs.get("padding", node.args[3] if len(node.args) > 3 else 0))
    return (0, 0)


def _covered(read: list[Field], window: tuple[tuple[int, int], tuple[int, int]], padding: tuple[int, int]) -> Field:
    """The field after reading nodes with fields `read` through a window of a kernel and stride."""
    (high, wide), (down, across) = window
    field = read[0].with_all(read[1:]) if read else Field(0, 1, 0, 1, 1, 1)
    top, left = field.top - padding[0] * field.down, field.left - padding[1] * field.across
    bottom, right = (field.bottom + (high - 1 - padding[0]) * field.down, field.right + (wide - 1 - padding[1]) * field.across)
    return Field(top, bottom, left, right, field.down * down, field.across * across)


def _macs(layer: nn.Module | None, shape: tuple[int, ...]) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() * shape[1] * shape[2]
    return layer.weight.numel() if isinstance(layer, nn.Linear) else 0


def _field(facts: list[dict], kernel: tuple[int, int], stride: tuple[int, int], pooled: tuple[int, int] | None) -> dict:
    """Receptive field and step in input pixels, (height, width), after reading from nodes with `facts`."""
    field = [max((f["_field"][i] for f in facts), default=1) for i in (0, 1)]
    step = [max((f["_step"][i] for f in facts), default=1) for i in (0, 1)]
    reach = pooled or kernel
    grown = tuple(field[i] + (reach[i] - 1) * step[i] for i in (0, 1))
    return {"_field": grown, "_step": tuple(step[i] * stride[i] for i in (0, 1))}


def _operations(module: fx.GraphModule, names: Mapping[str, str], side: int) -> nx.DiGraph:
    shapes = _shapes(module, side)
    graph = nx.DiGraph()
    for node in module.graph.nodes:
        if node.op == "output":
            continue
        layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        sources = [names[n.name] for n in node.all_input_nodes]
        operation = "input" if node.op == "placeholder" else _operation(node, layer)
        kernel, stride = _window(node, layer)
        read = [graph.nodes[s] for s in sources]
        pooled = tuple(read[0]["shape"][1:]) if operation == "global average pool" else None
        graph.add_node(
            names[node.name],
            operation=operation,
            shape=shapes[node.name],
            parameters=sum(p.numel() for p in layer.parameters()) if layer is not None else 0,
            macs=_macs(layer, shapes[node.name]),
            kernel=kernel,
            block=None,
            branch=None,
            _covered=_covered([facts["_covered"] for facts in read], (pooled or kernel, stride), _padding(node, layer)),
            **_field(read, kernel, stride, pooled),
        )
        graph.add_edges_from((source, names[node.name]) for source in sources)
    for _, facts in graph.nodes(data=True):
        facts["receptive_field"] = max(facts.pop("_field"))
        facts["step"] = max(facts.pop("_step"))
    return graph


def _branch_name(graph: nx.DiGraph, nodes: set[str], module: str, index: int) -> str:
    layers = sorted(n.removeprefix(module + ".").split(".")[0] for n in nodes if graph.nodes[n]["operation"] == "convolution")
    if not layers:
        return "pool"
    first = layers[0]
    if first in GOOGLENET_BRANCHES:
        return GOOGLENET_BRANCHES[first]
    found = re.match(r"branch_?(pool|[^_]+)", first)
    return found.group(1) if found else f"branch {index + 1}"


def _find_blocks(graph: nx.DiGraph) -> Iterator[Block]:
    order = {node: i for i, node in enumerate(nx.topological_sort(graph))}
    inside: set[str] = set()
    for node in sorted(order, key=order.__getitem__, reverse=True):
        if graph.nodes[node]["operation"] != "concatenate" or node in inside:
            continue
        ends = list(graph.predecessors(node))
        above = {end: nx.ancestors(graph, end) | {end} for end in ends}
        source = max(set.intersection(*above.values()), key=order.__getitem__)
        before = nx.ancestors(graph, source) | {source}
        parts = {end: above[end] - before for end in ends}
        if not any(graph.nodes[n]["operation"] == "convolution" for part in parts.values() for n in part):
            continue
        inside.update(*parts.values())
        yield _block(graph, node, source, parts)


def _block(graph: nx.DiGraph, node: str, source: str, parts: Mapping[str, set[str]]) -> Block:
    """The block that ends at `node`; writes its name and branches into the graph."""
    module = node.rsplit(".", 1)[0]
    name = re.sub(r"^(inception|Mixed_)", "", module)
    branches, start = [], 0
    for index, (end, part) in enumerate(parts.items()):
        branch = _branch_name(graph, part, module, index)
        stop = start + graph.nodes[end]["shape"][0]
        kernels = [graph.nodes[n]["kernel"] for n in part if graph.nodes[n]["operation"] == "convolution"]
        slip = branch == "5x5" and all(max(k) < 5 for k in kernels)
        branches.append(Branch(branch, start, stop, FIVE_IS_THREE if slip else "", graph.nodes[end]["_covered"]))
        for n in part:
            graph.nodes[n].update(block=name, branch=branch)
        start = stop
    graph.nodes[node].update(block=name)
    channels, height, width = graph.nodes[node]["shape"]
    return Block(name, node, channels, height, width, tuple(branches), source)


def describe_network(network: nn.Module, side: int) -> Architecture:
    """The architecture of any network that torch.fx can trace, for pictures of `side` x `side`."""
    module, names = traced(network)
    graph = _operations(module, names, side)
    blocks = tuple(reversed(list(_find_blocks(graph))))
    for _, facts in graph.nodes(data=True):
        del facts["_covered"]  # the branches have it
    output = next(n for n in module.graph.nodes if n.op == "output")
    return Architecture(graph, blocks, side, names[output.all_input_nodes[0].name])


@once_per_model
def describe(model: Model) -> Architecture:
    """The architecture of a loaded model, for pictures as it sees them."""
    return describe_network(model.network, model.weights.preprocessing.crop)


def _group(node: str, facts: dict, expanded: frozenset[str]) -> str:
    """The node of the condensed graph that an operation belongs to."""
    if facts["block"] is not None and facts["block"] not in expanded:
        return facts["block"]
    if facts["operation"] in ("convolution", "batch norm", "relu"):
        return node.rsplit(".", 1)[0]
    if facts["operation"] == "rescale" or (facts["operation"] == "concatenate" and facts["block"] is None):
        return "x"
    return "avgpool" if facts["operation"] in ("flatten", "dropout") else node


@remembered(32)
def condensed(architecture: Architecture, expanded: frozenset[str] = frozenset()) -> nx.DiGraph:
    """The graph as people draw it: convolution, batch norm and ReLU as one node, and every block that is not `expanded` as one node.

    Parameters and MACs are sums; shape and receptive field are those of the group's last operation. The graph is frozen: whoever asks again gets it too.
    """
    graph = architecture.graph
    group = {node: _group(node, facts, expanded) for node, facts in graph.nodes(data=True)}
    drawn = nx.DiGraph()
    for node, facts in graph.nodes(data=True):
        name = group[node]
        closed = name == facts["block"]
        if name not in drawn:
            drawn.add_node(name, **facts)
            drawn.nodes[name].update(branch=None if closed else facts["branch"], operation="block" if closed else facts["operation"])
            continue
        known = drawn.nodes[name]
        known.update(parameters=known["parameters"] + facts["parameters"], macs=known["macs"] + facts["macs"])
        if facts["operation"] not in ("flatten", "dropout", "rescale"):
            known.update(shape=facts["shape"], receptive_field=facts["receptive_field"], step=facts["step"])
    drawn.add_edges_from((group[a], group[b]) for a, b in graph.edges if group[a] != group[b])
    return nx.freeze(drawn)


def _plain(graph: nx.DiGraph) -> nx.DiGraph:
    """The same graph with attributes that every format can hold."""
    plain = nx.DiGraph()
    for node, facts in graph.nodes(data=True):
        values = {k: " x ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in facts.items()}
        plain.add_node(node, **{k: "" if v is None else v for k, v in values.items()})
    plain.add_edges_from(graph.edges)
    return plain


@remembered(8)
def graphml(architecture: Architecture) -> str:
    """The graph as GraphML, for yEd, Gephi or networkx."""
    file = io.BytesIO()
    nx.write_graphml(_plain(architecture.graph), file)
    return file.getvalue().decode("utf-8")


def node_link(architecture: Architecture) -> str:
    """The graph as node-link JSON, as networkx reads it."""
    return json.dumps(nx.node_link_data(_plain(architecture.graph), edges="edges"), indent=1)


EXPORTS: dict[str, Callable[[Architecture], str]] = {"graphml": graphml, "json": node_link}
