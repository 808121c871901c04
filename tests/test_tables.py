"""Networks of tables: what they cost is what PyTorch counts, budgets are kept, and a table is found again in its network's shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz.architecture import describe_network
from inception_viz.cost import block, counted
from inception_viz.networks import GOOGLENET
from inception_viz.tables import WIDTHS, Block, Network, Table, fitted, table_of

GROUPED = Block(4, 6, 8, 4, 4, 3, groups_three=2, groups_five=4)
ALONE = Block(2, 5, 5, 3, 3, 2, groups_three=0, groups_five=0)
CHAIN = Block(three=7)


def table(*rows: Block, **stem: int) -> Table:
    return Table((rows[:1], rows[1:]), side=16, classes=5, stem=6, **stem)


@pytest.mark.parametrize("stem", [{}, {"stem_stride": 1, "stem_pool": False, "colours": 1}])
def test_a_table_counts_as_pytorch_does(stem: dict) -> None:
    made = table(GROUPED, ALONE, CHAIN, **stem)
    with torch.device("meta"):
        network = Network(made)
    if made.colours == 3:
        assert made.macs == counted(network, made.side).macs
    assert made.macs == describe_macs(network, made)


def describe_macs(network: Network, made: Table) -> int:
    """Counted layer by layer from the shapes that come out of the layers."""
    real = Network(made)
    total = 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1)  # type: ignore[operator,union-attr]

    for layer in real.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    real.eval()(torch.zeros(1, made.colours, made.side, made.side))
    return total


@pytest.mark.parametrize("name", GOOGLENET)
def test_googlenets_blocks_cost_what_the_paper_says(name: str) -> None:
    widths = GOOGLENET[name]
    row = Block(*(getattr(widths, width) for width in WIDTHS))
    assert row.weights(widths.inputs) * widths.side**2 == block(widths).macs


@settings(max_examples=25, deadline=None)
@given(
    budget=st.integers(300_000, 3_000_000),
    widths=st.lists(st.integers(8, 200), min_size=6, max_size=6),
    groups=st.sampled_from([0, 1, 2, 4, 8]),
)
def test_a_budget_is_kept_and_used_up(budget: int, widths: list[int], groups: int) -> None:
    if groups == 0:
        widths[1], widths[3] = widths[2], widths[4]
    unit = max(groups, 1)
    even = [w if i in (0, 5) else -(-w // unit) * unit for i, w in enumerate(widths)]
    row = Block(*even, groups_three=groups, groups_five=groups)
    found = fitted(table(row, row, row, row), budget)
    assert 0.97 * budget <= found.macs <= budget
    for made in found.blocks:
        assert made.three % unit == made.reduce_three % unit == made.five % unit == made.reduce_five % unit == 0


def test_a_budget_below_the_least_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fitted(table(GROUPED, GROUPED), 100)


def test_a_table_is_found_again_in_the_shapes_of_its_network() -> None:
    made = table(GROUPED, ALONE, CHAIN)
    shapes = {name: value.shape for name, value in Network(made).state_dict().items()}
    found = table_of(shapes, table(CHAIN, CHAIN))
    assert found.macs == made.macs
    assert {n: v.shape for n, v in Network(found).state_dict().items()} == shapes
    assert Table.of(made.told()) == made


def test_other_networks_shapes_are_no_table() -> None:
    with pytest.raises(ValueError, match="not the parameters"):
        table_of({"fc.weight": torch.Size((3, 4))}, table(CHAIN, CHAIN))


def test_branches_have_googlenets_names() -> None:
    found = describe_network(Network(table(GROUPED, ALONE)), 16)
    assert [b.name for b in found.blocks] == ["3a", "4a"]
    assert [b.name for b in found.blocks[0].branches] == ["1x1", "3x3", "5x5", "pool"]
    assert not any(b.note for b in found.blocks[0].branches)
    assert found.macs == table(GROUPED, ALONE).macs
