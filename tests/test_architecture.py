"""The module graph: totals agree with PyTorch's own counters, blocks with the networks, receptive fields with gradients."""

import json

import networkx as nx
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inception_viz import architecture
from inception_viz.errors import UnknownChoice
from inception_viz.figures import architecture as drawing
from inception_viz.models import Model
from inception_viz.text import Text

BOTH = pytest.mark.parametrize("name", ["googlenet", "inception_v3"])


@pytest.fixture
def model(name: str, request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(name)


@BOTH
def test_totals_are_those_of_pytorch(model: Model) -> None:
    described = architecture.describe(model)
    side = model.weights.preprocessing.crop
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.network(torch.zeros(1, 3, side, side))
    assert described.macs == counter.get_total_flops() // 2
    assert described.parameters == sum(p.numel() for p in model.network.parameters())


@BOTH
def test_the_graph_is_a_way_from_the_picture_to_the_classes(model: Model) -> None:
    graph = architecture.describe(model).graph
    assert nx.is_directed_acyclic_graph(graph)
    assert [n for n in graph if graph.in_degree(n) == 0] == ["x"]
    assert [n for n in graph if graph.out_degree(n) == 0] == ["fc"]


def test_googlenets_blocks_have_the_papers_widths(googlenet: Model) -> None:
    widths = {b.name: [x.stop - x.start for x in b.branches] for b in architecture.describe(googlenet).blocks}
    assert widths["3a"] == [64, 128, 32, 32]
    assert widths["4e"] == [256, 320, 128, 128]
    assert widths["5b"] == [384, 384, 128, 128]
    assert [x.name for x in architecture.describe(googlenet).block("3a").branches] == ["1x1", "3x3", "5x5", "pool"]


def test_inception_v3_is_found_by_the_same_rule(inception_v3: Model) -> None:
    blocks = architecture.describe(inception_v3).blocks
    assert [b.name for b in blocks] == ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
    assert [b.channels for b in blocks] == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    assert [x.name for x in blocks[-1].branches] == ["1x1", "3x3", "3x3dbl", "pool"]
    assert [x.stop - x.start for x in blocks[3].branches] == [384, 96, 288]


@BOTH
def test_branches_cut_the_output_without_gap(model: Model) -> None:
    for block in architecture.describe(model).blocks:
        edges = [0, *(b.stop for b in block.branches)]
        assert [b.start for b in block.branches] == edges[:-1]
        assert edges[-1] == block.channels
        assert np.bincount(block.branch_of).tolist() == [b.stop - b.start for b in block.branches]


def test_the_slip_of_the_five_is_told_where_it_is(googlenet: Model, inception_v3: Model) -> None:
    assert all(bool(b.note) == (b.name == "5x5") for block in architecture.describe(googlenet).blocks for b in block.branches)
    assert not any(b.note for block in architecture.describe(inception_v3).blocks for b in block.branches)


@pytest.mark.parametrize("node", ["conv1", "conv3", "maxpool2", "inception3a.branch2.1", "inception3b.branch3.1"])
def test_the_receptive_field_is_where_the_gradient_reaches(googlenet: Model, node: str) -> None:
    """The footprint of one output's gradient on the picture, with every weight and gate made positive."""
    described = architecture.describe_network(googlenet.network, 224)
    facts = architecture.condensed(described, frozenset(b.name for b in described.blocks)).nodes[node]
    module, names = architecture.traced(googlenet.network)
    picture = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).requires_grad_()
    values = {}

    class Positive(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            layer = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
            if isinstance(layer, torch.nn.Conv2d):
                (x,), _ = self.fetch_args_kwargs_from_env(n)
                result = torch.nn.functional.conv2d(x, layer.weight.abs() / layer.weight.abs().sum(), None, layer.stride, layer.padding)
            elif isinstance(layer, torch.nn.MaxPool2d):
                (x,), _ = self.fetch_args_kwargs_from_env(n)
                result = torch.nn.functional.avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
            elif isinstance(layer, torch.nn.BatchNorm2d) or "relu" in str(n.target):
                result = self.fetch_args_kwargs_from_env(n)[0][0]
            else:
                result = super().run_node(n)
            values[names[n.name]] = result
            return result

    Positive(module).run(picture)
    last = next(k for k in reversed(list(values)) if k == node or k.startswith(node + "."))
    middle = values[last].shape[-1] // 2
    (gradient,) = torch.autograd.grad(values[last][0, :, middle, middle].sum(), picture)
    rows = (gradient.abs().sum((0, 1, 3)) > 0).nonzero()
    assert int(rows.max() - rows.min()) + 1 == facts["receptive_field"]


@BOTH
def test_the_condensed_graph_adds_up_to_the_whole(model: Model) -> None:
    described = architecture.describe(model)
    for expanded in (frozenset(), frozenset([described.blocks[0].name]), frozenset(b.name for b in described.blocks)):
        drawn = architecture.condensed(described, expanded)
        assert sum(f["macs"] for _, f in drawn.nodes(data=True)) == described.macs
        assert sum(f["parameters"] for _, f in drawn.nodes(data=True)) == described.parameters
        assert nx.is_directed_acyclic_graph(drawn)
        assert nx.is_weakly_connected(drawn)


def test_exports_are_read_back(googlenet: Model, tmp_path) -> None:
    described = architecture.describe(googlenet)
    (tmp_path / "g.graphml").write_text(architecture.graphml(described), encoding="utf-8")
    assert set(nx.read_graphml(tmp_path / "g.graphml").edges) == set(described.graph.edges)
    assert set(nx.node_link_graph(json.loads(architecture.node_link(described)), edges="edges").edges) == set(described.graph.edges)


def test_an_unknown_block_is_refused_with_the_known_ones(googlenet: Model) -> None:
    with pytest.raises(UnknownChoice, match="3a, 3b"):
        architecture.describe(googlenet).block("9z")


@BOTH
@pytest.mark.parametrize("language", ["en", "ar"])
def test_no_box_lies_on_another_and_no_edge_runs_backwards(model: Model, language: str) -> None:
    described = architecture.describe(model)
    everything = frozenset(b.name for b in described.blocks)
    graph = architecture.condensed(described, everything)
    column = drawing._columns(graph)
    lane = drawing._lanes(graph, column)
    places = [(column[n], lane[n]) for n in graph]
    assert len(set(places)) == len(places)
    assert all(column[a] < column[b] for a, b in graph.edges)
    svg = drawing.draw(described, Text(language), everything, "branch", "fc").svg
    assert svg.count('class="node') == len(graph)
    assert svg.count('aria-pressed="true"') == 1


def test_colouring_by_a_number_tells_its_ends(googlenet: Model) -> None:
    picture = drawing.draw(architecture.describe(googlenet), Text("en"), frozenset(), "receptive field")
    assert picture.scale == (
        1,
        1 + max(f["receptive_field"] for _, f in architecture.condensed(architecture.describe(googlenet)).nodes(data=True)) - 1,
    )
    with pytest.raises(UnknownChoice):
        drawing.draw(architecture.describe(googlenet), Text("en"), frozenset(), "taste")
