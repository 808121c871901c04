"""Tables are those of the papers, every way to run a table gives the same outputs, and costs are those of the FLOP counter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from inception_viz import connections, measurement, races
from inception_viz.connections import FULL, GROUPED, INCEPTION, RANDOM, TABLE, Layer, Wired
from inception_viz.measurement import OutOfRange, TooLarge
from tests.test_sparsity import driven

CPU = torch.device("cpu")
SMALL = Layer(2, 3, 6)


def test_lenets_table_is_that_of_the_paper() -> None:
    table = connections.lenet_table()
    assert table.shape == (16, 6)
    assert table.sum(1).tolist() == [3] * 6 + [4] * 9 + [6]  # LeCun et al. 1998: contiguous threes and fours, three broken fours, and all
    assert table.sum(0).tolist() == [10] * 6
    assert len(np.unique(table, axis=0)) == 16  # no two maps read the same, which breaks the symmetry
    wired = connections.wirings(connections.LENET_LAYER)[TABLE]
    assert wired.parameters + 16 == 1516
    assert wired.macs + 16 * 100 == 151_600  # the paper's "connections", biases among them


@given(st.integers(1, 4))
def test_more_channels_for_each_map_keep_the_pattern(times: int) -> None:
    table = connections.lenet_table(times)
    assert table.shape == (16 * times, 6 * times)
    assert (table[::times, ::times] == connections.lenet_table()).all()
    assert table.sum() == 60 * times**2


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_random_table_has_its_connections_spread_evenly(inputs: int, outputs: int, data: st.DataObject) -> None:
    connections_ = data.draw(st.integers(0, inputs * outputs))
    table = connections.random_table(inputs, outputs, connections_)
    assert table.sum() == connections_
    assert np.ptp(table.sum(1)) <= 1


@given(st.integers(1, 12), st.integers(12, 40), st.integers(12, 40))
def test_every_channel_is_in_one_group(groups: int, inputs: int, outputs: int) -> None:
    table = connections.group_table(inputs, outputs, groups)
    assert len(np.unique(table, axis=0)) == groups
    assert (np.unique(table, axis=0).sum(0) == 1).all()


@pytest.mark.parametrize("layer", [SMALL, Layer(1, 5, 10, 3), Layer(3, 1, 4, 6)])
def test_every_way_to_run_a_table_gives_the_same_outputs(layer: Layer) -> None:
    ways = connections.runs(layer, CPU)
    for name in (TABLE, RANDOM, GROUPED):
        outputs = [run() for (wiring, _), run in ways.items() if wiring == name]
        assert len(outputs) >= 2
        assert outputs[0].shape == (1, layer.outputs, layer.side, layer.side)
        for other in outputs[1:]:
            assert torch.allclose(outputs[0], other, atol=1e-5)


def test_a_masked_output_reads_no_more_than_its_table_says() -> None:
    inputs = torch.randn(1, 6, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    table = connections.lenet_table()
    weights = torch.randn(16, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    made = connections.gathered(weights, table, inputs)()
    for output in range(16):
        (gradient,) = torch.autograd.grad(made[0, output].sum(), inputs, retain_graph=True)
        assert ((gradient[0].abs().sum((1, 2)) > 0).numpy() == table[output]).all()


@pytest.mark.parametrize("layer", [SMALL, connections.LENET_LAYER, Layer(8, 5, 14)])
def test_operations_are_those_of_the_flop_counter(layer: Layer) -> None:
    wired, ways = connections.wirings(layer), connections.runs(layer, CPU)
    for name, way in (
        (FULL, connections.AS_IT_IS),
        (INCEPTION, connections.AS_IT_IS),
        (TABLE, connections.GATHERED),
        (GROUPED, connections.IN_GROUPS),
    ):
        with FlopCounterMode(display=False) as counter:
            made = ways[name, way]()
        assert counter.get_total_flops() == 2 * wired[name].macs
        assert made.shape[1:] == (layer.outputs, layer.side, layer.side)


def test_inceptions_last_stage_reads_every_channel_once() -> None:
    table, branch = connections.branch_table(SMALL)
    assert (np.bincount(branch) == [made for _, made in connections.branch_widths(SMALL).values()]).all()
    assert (np.unique(table, axis=0).sum(0) == 1).all()


def test_groups_that_do_not_divide_give_way_to_fewer() -> None:
    assert connections.whole_groups(Layer(1, 3, 6, 4)) == 2
    assert connections.whole_groups(Layer(2, 3, 6, 4)) == 4


def test_a_comparison_tells_all_its_numbers() -> None:
    found, shares = driven(connections.measure(SMALL, CPU, rounds=3))
    assert shares == [0.25, 0.5, 0.75, 1]
    outcome = connections.answered(found)
    assert len(outcome.rows) == 9
    assert {row["groups"] for row in outcome.rows} == {2}
    assert {row["wiring"] for row in outcome.rows} == {TABLE, RANDOM, FULL, GROUPED, INCEPTION}
    assert found.fastest(FULL).speedup == races.Ratio(1, 1, 1)


def made(macs: int, speedup: float) -> Wired:
    one = races.Timing(1 / speedup, 1 / speedup, 1 / speedup, 9, races.conditions(CPU))
    return Wired("w", "as it is", macs, macs, one, races.Ratio(speedup, speedup * 0.95, speedup * 1.05))


@pytest.mark.parametrize(("speedup", "verdict"), [(1.0, True), (2.0, None), (3.0, False)])
def test_full_connection_is_better_used_if_half_the_operations_take_more_than_half_the_time(speedup: float, verdict: bool | None) -> None:
    assert connections._table(made(50, speedup), made(100, 1)).supported is verdict


@pytest.mark.parametrize(("speedup", "verdict"), [(20.0, True), (10.0, None), (5.0, False)])
def test_branches_are_dense_parts_if_they_do_more_a_second_than_a_random_table(speedup: float, verdict: bool | None) -> None:
    assert connections._parts(made(10, speedup), made(50, 2), made(100, 1)).supported is verdict


def test_bad_sizes_are_refused_before_memory_is_taken() -> None:
    for layer, error in (
        (Layer(1000, 3, 6), OutOfRange),
        (Layer(1, 0, 6), OutOfRange),
        (Layer(1, 3, 10**6), OutOfRange),
        (Layer(32, 11, 56), OutOfRange),
    ):
        with pytest.raises(error):
            next(connections.measure(layer, CPU))


@pytest.mark.parametrize("kernel", [2, 4, 10])
def test_a_kernel_without_a_middle_is_refused(kernel: int) -> None:
    with pytest.raises(connections.EvenKernel) as caught:
        next(connections.measure(Layer(1, kernel, 6), CPU))
    assert caught.value.facts == {"found": kernel}


def test_memory_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "MEMORY_LIMIT", 1000)
    with pytest.raises(TooLarge):
        next(connections.measure(SMALL, CPU))
