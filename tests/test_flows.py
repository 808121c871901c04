"""Flows: the parts add up to what the network has, whatever lies between; and what cannot be told apart exactly is refused."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.feature_extraction import create_feature_extractor

from inception_viz import flows, models
from inception_viz.activations import NoSuchClass, Target, capture
from inception_viz.analysis import analyze, clustered
from inception_viz.architecture import Architecture, Block, Branch, describe, describe_network
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.figures import flows as drawing
from inception_viz.flows import ACTIVATION, CONSTANT, LOGIT, MEASURES, TO_TARGET
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import Text
from tests import naive

SIDE = 24


def close(found: np.ndarray | Tensor, expected: np.ndarray | Tensor, scale: float | None = None) -> bool:
    """Equal to 1e-5 of the largest that is expected."""
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape == expected.shape and float(np.abs(found - expected).max()) < 1e-5 * (scale or float(np.abs(expected).max()))


def labels_for(channels: int, count: int, seed: int = 0) -> np.ndarray:
    """Clusters of any channels, some of them called constant."""
    return np.random.default_rng(seed).integers(-1, count, channels)


def all_labels(architecture: Architecture, count: int = 4) -> dict[str, np.ndarray]:
    return {b.name: labels_for(b.channels, count, i) for i, b in enumerate(architecture.blocks)}


@pytest.fixture(scope="module", params=["googlenet", "inception_v3"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def inputs(model: Model, chelsea: Picture) -> Tensor:
    return model.input(chelsea)


@pytest.fixture(scope="module")
def through_all(model: Model, inputs: Tensor) -> flows.Flows:
    """The flows through all blocks, to the difference of two classes."""
    return flows.follow(model, inputs, all_labels(describe(model)), Target(3, 5))


def pre_activations(model: Model, inputs: Tensor, module: str) -> dict[str, Tensor]:
    """What every batch norm of a block gives, before the ReLU that overwrites it."""
    found: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: out.clone()}))
        for name, layer in model.network.named_modules()
        if name.startswith(module + ".") and isinstance(layer, nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        model.network(inputs)
    for hook in hooks:
        hook.remove()
    return found


HARD = {
    "googlenet": ["3b", "4a", "5a"],  # plain, and behind a max pool between blocks
    "inception_v3": ["6a", "6b", "7b"],  # a block that pools, 1x7 and 7x1, nested concatenations
}


def test_the_parts_add_up_to_every_pre_activation_of_the_next_block(model: Model, inputs: Tensor) -> None:
    """Through 1x1 reductions, pool branches, nested concatenations and the pools between blocks: at every batch norm of a block."""
    taken = capture(model, inputs, gradients=False).activations
    for before, block in pairwise(describe(model).blocks):
        if block.name not in HARD[model.architecture]:
            continue
        parts = flows.groups(labels_for(before.channels, 2))
        for name, expected in pre_activations(model, inputs, block.module).items():
            rows = flows.split(model, taken[before.name], before.node, parts, name)
            assert close(rows[1:].sum(0), expected[0]), (block.name, name)
            assert close(rows[0], expected[0]), (block.name, name)


@pytest.mark.parametrize("measure", MEASURES)
def test_edges_add_up_to_what_each_cluster_has(through_all: flows.Flows, measure: str) -> None:
    for station in range(1, len(through_all.stations)):
        assert close(through_all.edges(station - 1, measure).sum(0), through_all.values(station, measure))
    assert float(through_all.edges(len(through_all.hops) - 1, measure).sum()) == pytest.approx(through_all.logit, rel=1e-5)


def test_what_flows_to_the_class_is_conserved(through_all: flows.Flows) -> None:
    """All that a cluster gives to the class goes through the clusters of the next block, and nothing is added but biases."""
    for hop in range(len(through_all.hops)):
        assert close(through_all.edges(hop, TO_TARGET)[:-1].sum(1), through_all.values(hop, TO_TARGET))


def test_what_a_cluster_gives_to_the_class_is_its_attribution(googlenet: Model, chelsea: Picture) -> None:
    labels = labels_for(832, 3)
    given = analyze(googlenet, chelsea, Target(3)).blocks["5a"].attribution
    found = flows.follow(googlenet, googlenet.input(chelsea), {"5a": labels}, Target(3))
    assert close(found.edges(0, TO_TARGET)[:3, 0], given.by_cluster(labels))


def test_maps_add_up_to_edges(through_all: flows.Flows) -> None:
    for index, hop in enumerate(through_all.hops[:-1]):
        for measure in MEASURES:
            assert close(hop.maps[measure].sum((2, 3)), through_all.edges(index, measure))


@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 2), (0, -1)])
def test_edges_are_gradient_x_activation_of_the_network_itself(model: Model, inputs: Tensor, first: int, last: int) -> None:
    """Autograd goes the other way, through torchvision's own modules: from each cluster of the later block back to the earlier one's channels."""
    source, target = describe(model).blocks[first], describe(model).blocks[last]
    here, there = labels_for(source.channels, 3), labels_for(target.channels, 4, 1)
    extract = create_feature_extractor(model.network, {source.node: "source", target.node: "target"})
    with torch.enable_grad():
        taken = extract(inputs.clone().requires_grad_())
    expected = []
    for members in flows.groups(there):
        total = taken["target"][0][torch.from_numpy(members)].sum()
        (gradient,) = torch.autograd.grad(total, taken["source"], retain_graph=True)
        channels = (gradient * taken["source"])[0].sum((1, 2)).detach().numpy()
        expected.append([channels[inside].sum() for inside in flows.groups(here)])
    edges = flows.follow(model, inputs, {source.name: here, target.name: there}).edges(0, ACTIVATION)
    assert close(edges[:-1], np.array(expected).T, float(np.abs(edges).max()))


def test_edges_are_shares_multiplied_through_folded_convolutions(googlenet: Model, chelsea: Picture) -> None:
    """The definition, in float64, branch by branch: batch norm folded into kernels, shares multiplied through the 1x1 reductions."""
    inputs = googlenet.input(chelsea)
    before, block = describe(googlenet).block("4a"), describe(googlenet).block("4b")
    taken = capture(googlenet, inputs, gradients=False).activations[before.name].double()
    here, there = labels_for(before.channels, 3), labels_for(block.channels, 4, 1)
    expected = naive.googlenet_flow(googlenet.network.get_submodule(block.module), taken, flows.groups(here))
    by_cluster = np.stack([expected[:, members].sum(1) for members in flows.groups(there)], 1)
    edges = flows.follow(googlenet, inputs, {"4a": here, "4b": there}).edges(0, ACTIVATION)
    assert close(edges, by_cluster)


def test_edges_to_the_logit_are_the_class_activation_map(googlenet: Model, chelsea: Picture) -> None:
    """After the last block there are only a mean and a matrix."""
    inputs, target = googlenet.input(chelsea), Target(7, 2)
    labels = labels_for(describe(googlenet).blocks[-1].channels, 5)
    taken = capture(googlenet, inputs, gradients=False).activations["5b"][0].mean((1, 2)).numpy()
    layer = googlenet.network.get_submodule("fc")
    weight = (layer.weight[7] - layer.weight[2]).numpy()
    edges = flows.follow(googlenet, inputs, {"5b": labels}, target).edges(0, TO_TARGET)[:, 0]
    assert edges[:-1] == pytest.approx([(taken * weight)[members].sum() for members in flows.groups(labels)], abs=1e-5)
    assert edges[-1] == pytest.approx(float(layer.bias[7] - layer.bias[2]), abs=1e-6)


def test_two_classes_are_the_difference_of_their_flows(googlenet: Model, chelsea: Picture) -> None:
    inputs, labels = googlenet.input(chelsea), {"5a": labels_for(832, 3), "5b": labels_for(1024, 3)}
    one, other, both = (flows.follow(googlenet, inputs, labels, t) for t in (Target(1), Target(2), Target(1, 2)))
    for hop in range(2):
        apart = one.edges(hop, TO_TARGET) - other.edges(hop, TO_TARGET)
        assert both.edges(hop, TO_TARGET) == pytest.approx(apart, abs=1e-5)


def test_nothing_stays_on_the_network(googlenet: Model, chelsea: Picture) -> None:
    before = {name: tensor.clone() for name, tensor in googlenet.network.state_dict().items()}
    flows.follow(googlenet, googlenet.input(chelsea), {"5b": labels_for(1024, 3)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in googlenet.network.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in googlenet.network.modules())


def test_it_can_be_stopped_before_every_hop(googlenet: Model, chelsea: Picture) -> None:
    ticks = []
    labels = {"4e": labels_for(832, 3), "5a": labels_for(832, 3), "5b": labels_for(1024, 3)}
    flows.follow(googlenet, googlenet.input(chelsea), labels, tick=lambda: ticks.append(1))
    assert len(ticks) == flows.evaluations(3)


@pytest.mark.parametrize(
    ("labels", "target", "error"),
    [({"9z": np.zeros(3, int)}, None, UnknownChoice), ({"5b": np.zeros(1024, int)}, Target(5000), NoSuchClass)],
)
def test_unknown_blocks_and_classes_are_refused(
    googlenet: Model, chelsea: Picture, labels: dict, target: Target | None, error: type[VisitorError]
) -> None:
    with pytest.raises(error):
        flows.follow(googlenet, googlenet.input(chelsea), labels, target)


# --- networks of our own ---


class Two(nn.Module):
    """Two small blocks with something between them."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.first = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)])
        self.second = nn.ModuleList([nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 3, padding=1)])
        self.fc = nn.Linear(6, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        first = torch.cat([functional.relu(layer(x)) for layer in self.first], 1)
        middle = self.between(first) if isinstance(self.between, nn.Module) else self.between(first, x)
        second = torch.cat([functional.relu(layer(middle)) for layer in self.second], 1)
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(second, (1, 1)), 1))


def two(between: Callable[[Tensor, Tensor], Tensor] | nn.Module) -> tuple[Model, dict[str, np.ndarray], Tensor]:
    network = models.initialise(Two(between), 3).eval().requires_grad_(False)
    weights = models.Weights("tiny", "tiny", {}, models.Preprocessing(SIDE, SIDE), random=True)
    blocks = describe_network(network, SIDE).blocks
    picture = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    labels = {b.name: labels_for(b.channels, 2, i) for i, b in enumerate(blocks)}
    return Model("tiny", weights, network, torch.device("cpu")), labels, picture


POOLS = {
    "max with padding": nn.MaxPool2d(3, 2, padding=1), "max, ceil": nn.MaxPool2d(3, 2, ceil_mode=True), "max, dilated": nn.MaxPool2d(2, 1, dilation=2),
    "average": nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), "ReLU": nn.ReLU(), "identity": nn.Identity(),
    "batch norm without affine": nn.BatchNorm2d(8, affine=False), "convolution with bias": nn.Conv2d(8, 8, 3, groups=2), "dropout": nn.Dropout(),
}  # fmt: skip


@pytest.mark.parametrize("between", POOLS)
def test_whatever_is_affine_or_passes_on_one_input_is_exact(between: str) -> None:
    model, labels, picture = two(POOLS[between])
    found = flows.follow(model, picture, labels, Target(0))
    assert close(found.edges(0, ACTIVATION).sum(0), found.values(1, ACTIVATION))
    assert close(found.edges(0, TO_TARGET)[:-1].sum(1), found.values(0, TO_TARGET))


@pytest.mark.parametrize("between", [nn.Sigmoid(), nn.LeakyReLU(), nn.ReLU6(), nn.LPPool2d(2, 2)])
def test_what_is_not_is_refused_in_words(between: nn.Module) -> None:
    model, labels, picture = two(between)
    with pytest.raises(flows.NotExact, match="cannot be told apart exactly") as refused:
        flows.follow(model, picture, labels)
    assert "between" in str(refused.value) or "pow" in str(refused.value)


def test_a_way_round_a_block_is_refused_in_words() -> None:
    model, labels, picture = two(lambda first, x: first + x[:, :1])
    with pytest.raises(flows.Bypassed, match="alone"):
        flows.follow(model, picture, labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.booleans(), st.integers(0, 2**31))
def test_the_winner_of_a_max_pool_passes_and_no_other(kernel: int, stride: int, padding: int, ceil: bool, seed: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(seed).integers(-2, 3, (4, 2, 7, 6)).astype(np.float32))  # many ties
    options = {"kernel_size": kernel, "stride": stride, "padding": min(padding, kernel // 2), "ceil_mode": ceil}
    pooled = flows._max_pool(rows, **options)
    assert torch.equal(pooled[0], functional.max_pool2d(rows, **options)[0])
    moved = functional.max_pool2d(rows[:1] + 0.0, **options, return_indices=True)[1]
    for row in range(4):
        for channel in range(2):
            places = moved[0, channel].flatten().tolist()
            assert pooled[row, channel].flatten().tolist() == [float(rows[row, channel].flatten()[p]) for p in places]


# --- against chance ---


def block_of(*widths: int) -> Block:
    ends = np.cumsum(widths).tolist()
    branches = tuple(Branch(f"b{i}", end - width, end) for i, (width, end) in enumerate(zip(widths, ends, strict=True)))
    return Block("b", "b", ends[-1], 2, 2, branches, "x")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 2**31))
def test_shuffled_clusters_are_as_large_in_every_branch_and_about_as_strong(widths: list[int], count: int, seed: int) -> None:
    block, generator = block_of(*widths), np.random.default_rng(seed)
    labels, strength = generator.integers(-1, count, block.channels), generator.random(block.channels)
    kinds = flows.alike(block, strength)
    for drawn in flows.shuffled(labels, kinds, 3, seed):
        assert np.array_equal(drawn == CONSTANT, labels == CONSTANT)
        for kind in np.unique(kinds):
            assert sorted(drawn[kinds == kind]) == sorted(labels[kinds == kind])
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        assert len(members) <= flows.ALIKE
        assert len(np.unique(block.branch_of[members])) == 1


def flow_of(given: np.ndarray, labels: np.ndarray, seed: int = 0) -> flows.Flows:
    """Flows with any numbers: what each source gives to each channel of one block."""
    block = block_of(*[len(labels) // 2] * 2)
    strength = np.random.default_rng(seed).random(len(labels))
    own = dict.fromkeys(MEASURES, strength)
    station = flows.Station(block, labels, own, {})
    hops = (flows.Hop("a", "b", dict.fromkeys(MEASURES, given), {}), flows.Hop("b", LOGIT, dict.fromkeys(MEASURES, np.zeros((3, 1))), {}))
    return flows.Flows((station, station), hops, Target(0), 0.0)


def test_planted_edges_are_found_and_noise_is_not() -> None:
    generator, found, false = np.random.default_rng(0), 0, 0
    for seed in range(40):
        labels = generator.integers(0, 4, 96)
        noise = generator.normal(size=(4, 96))
        planted = noise + 1.5 * (np.arange(4)[:, None] == labels)  # sources 0 to 3 each prefer the cluster of their number
        found += int((np.diagonal(flows.chance(flow_of(planted, labels, seed), 0, ACTIVATION, 199).q) <= 0.05).sum())
        false += int((flows.chance(flow_of(noise, labels, seed), 0, ACTIVATION, 199).q <= 0.05).any())
    assert found >= 0.95 * 160
    assert false <= 5  # at most about 5% of 40, with room for luck


def test_edges_of_channels_that_are_all_alike_have_no_p() -> None:
    labels = np.arange(32) % 2
    beside = flows.chance(flow_of(np.ones((3, 32)), labels), 0, ACTIVATION, 19)
    assert np.isnan(beside.p).all()
    assert np.isnan(beside.z).all()


# --- the graph ---


@pytest.fixture(scope="module")
def followed(googlenet: Model, chelsea: Picture) -> flows.Flows:
    labels = {"4e": labels_for(832, 3), "5a": labels_for(832, 4), "5b": labels_for(1024, 5)}
    return flows.follow(googlenet, googlenet.input(chelsea), labels, Target(2))


@pytest.mark.parametrize("measure", MEASURES)
def test_the_graph_holds_the_edges_in_layers(followed: flows.Flows, measure: str) -> None:
    graph = flows.graph(followed, measure)
    assert nx.is_directed_acyclic_graph(graph)
    assert all(graph.nodes[b]["layer"] == graph.nodes[a]["layer"] + 1 for a, b in graph.edges)
    for node, facts in graph.nodes(data=True):
        if facts["bias"] is not None:
            incoming = graph.in_edges(node, data=True)
            total = sum(e["value"] for *_, e in incoming) + facts["bias"]
            assert total == pytest.approx(facts["value"], abs=1e-4 * max(1, abs(facts["value"])))
            rest = abs(facts["bias"]) / (abs(facts["bias"]) + sum(abs(e["value"]) for *_, e in incoming))
            assert sum(e["share"] for *_, e in incoming) + rest == pytest.approx(1)


def test_a_difference_of_equal_flows_is_nothing_and_turns_with_its_sides(googlenet: Model, followed: flows.Flows, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea).flip(3)
    labels = {s.block.name: s.labels for s in followed.stations}
    one, other = flows.graph(followed), flows.graph(flows.follow(googlenet, inputs, labels, Target(2)))
    assert {value for *_, value in flows.difference(one, one).edges(data="value")} == {0.0}
    there, back = flows.difference(one, other), flows.difference(other, one)
    assert any(value for *_, value in there.edges(data="value"))
    assert {e: -v for *e, v in ((a, b, v) for a, b, v in back.edges(data="value")) for e in [tuple(e)]} == {
        (a, b): v for a, b, v in there.edges(data="value")
    }
    assert there.nodes[LOGIT]["value"] == pytest.approx(one.nodes[LOGIT]["value"] - other.nodes[LOGIT]["value"])


def test_constant_channels_that_give_nothing_are_not_drawn(googlenet: Model, chelsea: Picture) -> None:
    result = analyze(googlenet, chelsea)
    labels = {name: found.labels for name, found in clustered(result) if name in ("5a", "5b")}
    assert any((found == CONSTANT).any() for found in labels.values())
    graph = flows.graph(flows.follow(googlenet, googlenet.input(chelsea), labels))
    assert [n for n, facts in graph.nodes(data=True) if facts["cluster"] == CONSTANT and not facts["value"]] == []


@pytest.mark.parametrize("measure", MEASURES)
def test_every_node_has_its_maps(followed: flows.Flows, measure: str) -> None:
    for node, facts in flows.graph(followed, measure).nodes(data=True):
        maps = flows.node_maps(followed, node, measure, 2)
        if node != LOGIT:
            assert maps[0][0] is None
            assert float(maps[0][1].sum()) == pytest.approx(facts["value"], rel=1e-4, abs=1e-4)
        expected = {0: 1, 1: 3, 2: 3, 3: 2}[facts["layer"]]
        assert len(maps) == expected
        assert all(cells.ndim == 2 for _, cells in maps)


def test_the_summary_is_plain_numbers(followed: flows.Flows) -> None:
    told = flows.summary(followed)
    assert [(hop["source"], hop["target"]) for hop in told] == [("4e", "5a"), ("5a", "5b"), ("5b", LOGIT)]
    assert np.array(told[0][ACTIVATION]["edges"]).shape == (5, 5)
    assert np.array(told[0][ACTIVATION]["adjusted_p"]).shape == (4, 5)
    assert ACTIVATION not in told[2]
    assert np.sum(told[2][TO_TARGET]["edges"]) == pytest.approx(followed.logit, abs=1e-5)


# --- the drawing ---


@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_drawing_is_sound_svg_with_every_node_and_only_wide_edges(followed: flows.Flows, language: str) -> None:
    graph = flows.graph(followed)
    picture = drawing.draw(graph, Text(language), "<&cat>", 0.1)
    root = ElementTree.fromstring(picture.svg)
    nodes = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("class", "").startswith("node")]
    assert {g.get("data-node") for g in nodes} == set(graph)
    assert all(g.get("tabindex") == "0" and g.get("aria-label") for g in nodes)
    edges = list(root.iter("{http://www.w3.org/2000/svg}path"))
    assert len(edges) == sum(share >= 0.1 for *_, share in graph.edges(data="share"))
    assert float(root.get("width", 0)) == picture.width


def test_all_edges_of_a_selected_node_are_drawn_and_the_others_step_aside(followed: flows.Flows) -> None:
    graph = flows.graph(followed)
    root = ElementTree.fromstring(drawing.draw(graph, Text("en"), "cat", 0.5, "5a/1").svg)
    paths = [p.get("class", "") for p in root.iter("{http://www.w3.org/2000/svg}path")]
    own = [e for *_, e in (*graph.in_edges("5a/1", data=True), *graph.out_edges("5a/1", data=True)) if e["share"] >= drawing.FAINTEST]
    assert sum("aside" not in p for p in paths) == len(own)
    (selected,) = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if "selected" in g.get("class", "")]
    assert selected.get("data-node") == "5a/1"
    assert selected.get("aria-pressed") == "true"


def test_numbers_in_boxes_are_short() -> None:
    assert [drawing._signed(v) for v in (0.01234, -3.456, 999.6, -6561.2)] == ["+0.0123", "-3.46", "+1,000", "-6,561"]
