"""Costs agree with published totals and with PyTorch's own counter."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inception_viz import cost, measurement, networks
from inception_viz.activations import answers
from inception_viz.architecture import describe
from inception_viz.models import Model
from tests.test_sparsity import driven


@pytest.mark.parametrize(
    ("name", "parameters", "gigamacs"),
    [("AlexNet", 61_100_840, 0.714), ("VGG-16", 138_357_544, 15.47), ("GoogLeNet", 6_624_904, 1.498), ("Inception v3", 23_834_568, 5.713)],
)
def test_networks_cost_what_was_published(name: str, parameters: int, gigamacs: float) -> None:
    counted = cost.counts()[name]
    assert counted.parameters == parameters
    assert counted.macs / 1e9 == pytest.approx(gigamacs, rel=1e-3)


@pytest.mark.parametrize("name", networks.GOOGLENET)
def test_a_block_costs_what_pytorch_counts(name: str) -> None:
    widths = networks.GOOGLENET[name]
    with torch.device("meta"):
        branches = [
            nn.Sequential(nn.Conv2d(widths.inputs, widths.one, 1, bias=False)),
            nn.Sequential(
                nn.Conv2d(widths.inputs, widths.reduce_three, 1, bias=False),
                nn.Conv2d(widths.reduce_three, widths.three, 3, padding=1, bias=False),
            ),
            nn.Sequential(
                nn.Conv2d(widths.inputs, widths.reduce_five, 1, bias=False),
                nn.Conv2d(widths.reduce_five, widths.five, 5, padding=2, bias=False),
            ),
            nn.Sequential(nn.Conv2d(widths.inputs, widths.pool, 1, bias=False)),
        ]
        picture = torch.zeros(1, widths.inputs, widths.side, widths.side)
        with FlopCounterMode(display=False) as counter:
            outputs = [branch(picture) for branch in branches]
    assert counter.get_total_flops() // 2 == cost.block(widths).macs
    assert sum(o.shape[1] for o in outputs) == widths.outputs
    assert sum(p.numel() for b in branches for p in b.parameters()) == cost.block(widths).parameters


def test_reductions_save_what_the_methods_say() -> None:
    """The share of each of the nine blocks, naive against reduced, lies between 2.4 and 5.1."""
    shares = [cost.naive_block(w).macs / cost.block(w).macs for w in networks.GOOGLENET.values()]
    assert min(shares) == pytest.approx(2.4, abs=0.05)
    assert max(shares) == pytest.approx(5.1, abs=0.05)


def test_scaling_all_widths_scales_macs_by_the_square() -> None:
    widths = networks.Widths(64, 14, 16, 32, 64, 16, 32, 16)
    factors = [0.5, 1, 2, 4]
    macs = [cost.block(networks.scaled(widths, f)).macs for f in factors]
    assert cost.exponent(factors, macs) == pytest.approx(2.0)


def test_the_exponent_of_one_size_is_undefined() -> None:
    assert math.isnan(cost.exponent([8, 8], [1.0, 2.0]))


def test_the_exponents_interval_is_that_of_the_regression() -> None:
    sizes, values = np.array([1.0, 2, 4, 8]), np.array([1.0, 5, 14, 70])
    x, y = np.log(sizes), np.log(values)
    power = cost.exponent(sizes, values)
    error = y - y.mean() - power * (x - x.mean())
    half = 4.302653 * math.sqrt((error**2).sum() / 2 / ((x - x.mean()) ** 2).sum())  # Student's t, 2 degrees of freedom
    assert cost.interval(sizes, values) == pytest.approx((power - half, power + half), rel=1e-6)
    assert math.isnan(cost.interval([1, 2], [1.0, 4.0])[0])


def test_what_does_not_fit_together_is_timed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = cost.chain(8, 1, side=8).memory_bytes
    monkeypatch.setattr(cost, "MEMORY_LIMIT", needed)
    points, shares = driven(cost.measure_chains([(4, 1), (8, 1)], torch.device("cpu"), side=8))
    assert [p.size for p in points] == [4, 8]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_stages_of_the_loaded_network_add_up_to_all_of_it(googlenet: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement.by_turns, "__defaults__", (1, torch.float32))
    points, _ = driven(cost.measure_stages(googlenet))
    described = describe(googlenet)
    assert [p.name for p in points] == [cost.STEM, *(b.name for b in described.blocks), cost.WHOLE]
    assert points[-1].cost.macs == described.macs
    assert points[-1].cost.parameters == cost.counted(googlenet.network, googlenet.weights.preprocessing.crop).parameters
    within = {name: sum(f["macs"] for _, f in described.graph.nodes(data=True) if f["block"] == name) for name in ("3a", "5b")}
    by_name = {p.name: p.cost for p in points}
    assert by_name["3a"].macs - by_name[cost.STEM].macs == within["3a"]
    assert by_name["5b"].macs - by_name["5a"].macs == within["5b"]
    outcome = cost.deeper(points)
    assert len(outcome.rows) == 12
    assert outcome.findings[0].facts["macs"] == "3b"


def test_a_network_cut_at_a_block_answers_as_that_block(googlenet: Model) -> None:
    block = describe(googlenet).blocks[1]
    cut = networks.up_to(googlenet.network, block.node).to_empty(device="cpu")
    cut.load_state_dict(googlenet.network.state_dict(), strict=False)
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(cut(inputs), answers(googlenet, inputs)[block.name], atol=1e-5)
    assert set(cut.state_dict()) < set(googlenet.network.state_dict())


def test_chains_are_refused_before_they_take_memory() -> None:
    with pytest.raises(measurement.TooLarge) as caught:
        next(cost.measure_chains([(8, 1), (512, 32)], torch.device("cpu"), side=1000))
    assert caught.value.facts["allowed"] == 640
    for refused in (lambda: cost.widths_to(0), lambda: cost.widths_to(100_000), lambda: cost.depths_to(0), lambda: cost.depths_to(10**9)):
        with pytest.raises(measurement.OutOfRange):
            refused()


def test_measured_chains_say_how_they_were_measured() -> None:
    running = cost.measure_chains([(4, 1), (8, 2)], torch.device("cpu"), side=8)
    shares = []
    try:
        while True:
            shares.append(next(running))
    except StopIteration as end:
        points = end.value
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert [p.size for p in points] == [4, 8]
    assert all(0 < p.timing.low <= p.timing.median <= p.timing.high for p in points)
    assert np.array_equal([p.cost.macs for p in points], [cost.chain(4, 1, side=8).macs, cost.chain(8, 2, side=8).macs])
    assert points[0].timing.repeats == measurement.REPEATS


@pytest.mark.parametrize("five", [3, 5])
@pytest.mark.parametrize("name", networks.GOOGLENET)
def test_what_is_timed_costs_what_is_told(name: str, five: int) -> None:
    """The very networks that are run, reduced and naive, counted by PyTorch."""
    widths = networks.GOOGLENET[name]
    for told, build in ((cost.block, networks.block), (cost.naive_block, networks.naive_block)):
        network = networks.hollow(lambda build=build: build(widths, five))
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, widths.inputs, widths.side, widths.side, device="meta"))
        assert counter.get_total_flops() == 2 * told(widths, five).macs
        assert sum(p.numel() for p in network.parameters() if p.ndim > 1) == told(widths, five).parameters


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (8, 3), (45, 2)])
def test_a_chain_costs_what_pytorch_counts(width: int, depth: int) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        networks.chain(width, depth)(torch.zeros(1, width, cost.SIDE, cost.SIDE))
    assert counter.get_total_flops() == 2 * cost.chain(width, depth).macs


def test_a_table_of_blocks_says_which_widths_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement.by_turns, "__defaults__", (1, torch.float32))
    blocks = {"own": networks.Widths(16, 7, 4, 5, 8, 2, 3, 6)}
    pairs, _ = driven(cost.measure_blocks(blocks, torch.device("cpu"), 3))
    reduced, naive = cost.saved(pairs, blocks, 3).rows
    assert [reduced[f"width_{name}"] for name in ("inputs", "side", "one", "reduce_three", "three", "reduce_five", "five", "pool")] == [
        16, 7, 4, 5, 8, 2, 3, 6,
    ]  # fmt: skip
    for row in (reduced, naive):
        assert row["kernel_5x5"] == 3
        assert sum(row[f"macs_{branch}"] for branch in ("1x1", "3x3", "5x5", "pool")) == row["macs"]
    assert naive["macs_pool"] == 0


def test_a_refusal_names_what_was_asked() -> None:
    blocks = {"own": networks.Widths(16, 999, 4, 4, 8, 2, 4, 4)}
    with pytest.raises(measurement.OutOfRange) as caught:
        next(cost.measure_blocks(blocks, torch.device("cpu")))
    assert caught.value.facts == {"name": cost.MAP_SIDE, "found": 999, "low": 1, "high": cost.LARGEST_MAP}
    for width, depth in ((10**11, 2), (8, 10**9)):
        with pytest.raises(measurement.OutOfRange):
            next(cost.measure_chains([(width, depth)], torch.device("cpu")))
