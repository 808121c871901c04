"""From correlations to a block: known answers on planted maps, a naive twin, budgets, and code that runs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from inception_viz import construction, models
from inception_viz.architecture import describe_network
from inception_viz.clusters import Clusters
from inception_viz.construction import Plan, Reach
from inception_viz.correlations import correlate
from inception_viz.cost import counted
from inception_viz.networks import GOOGLENET
from inception_viz.tables import Block


def planted(kernel: int, clusters: int = 3, each: int = 4, pictures: int = 12, side: int = 24) -> torch.Tensor:
    """Channels that repeat the noise of their cluster, smoothed over `kernel` x `kernel` positions."""
    generator = torch.Generator().manual_seed(kernel)
    noise = torch.randn(pictures, clusters, side + kernel - 1, side + kernel - 1, generator=generator)
    smooth = functional.avg_pool2d(noise, kernel, stride=1)
    return smooth.repeat_interleave(each, dim=1)


def naive(maps: np.ndarray, lag: int) -> float:
    """Pearson's r of all pairs of positions `lag` apart, one by one."""
    maps = maps - maps.mean()
    _, height, width = maps.shape
    first, second = [], []
    for y in range(height):
        for x in range(width):
            for dy in range(-lag, lag + 1):
                for dx in range(-lag, lag + 1):
                    if max(abs(dy), abs(dx)) == lag and 0 <= y + dy < height and 0 <= x + dx < width:
                        first.append(maps[:, y, x])
                        second.append(maps[:, y + dy, x + dx])
    a, b = np.concatenate(first), np.concatenate(second)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_autocorrelation_is_that_of_its_definition(lag: int) -> None:
    maps = planted(2, clusters=2, each=1, pictures=3, side=6)
    found = construction.autocorrelation(maps, lag)
    assert found.tolist() == pytest.approx([naive(maps[:, k].double().numpy(), lag) for k in range(2)], abs=1e-9)


def test_planted_clusters_are_found_and_reach_as_far_as_they_were_smoothed() -> None:
    """Noise that ends at a position asks for 1x1, smoothed over three positions for more, over seven for 5x5 most of all."""
    shares = []
    for kernel in (1, 3, 7):
        found = construction.measured(planted(kernel))
        assert found.clusters.count == 3
        assert found.clusters.sizes.tolist() == [4, 4, 4]
        assert found.dimensions == pytest.approx(3, rel=0.15)
        shares.append(found.reach.total)
    alone, near, far = shares
    assert alone[0] > 0.95
    assert alone[0] > near[0] > far[0]
    assert near[2] < far[2]
    assert far.argmax() == 2
    # a 3x3 mean: r = 2/3 and 4/9 at the eight neighbours, 1/3, 2/9 and 1/9 at the sixteen behind them, each over as many pairs
    expected = ((4 * 2 / 3 + 4 * 4 / 9) / 8, (4 * 1 / 3 + 8 * 2 / 9 + 4 * 1 / 9) / 16)
    assert construction.measured(planted(3)).reach.r[:, 1:].mean(0) == pytest.approx(expected, abs=0.05)


def test_the_plan_says_what_was_measured() -> None:
    found = construction.measured(planted(3))
    plan = found.plan
    assert (plan.inputs, plan.pool, plan.groups) == (12, pytest.approx(3 / 12), 1)
    assert plan.kept == pytest.approx(found.dimensions / 12)
    assert sum(plan.shares) == pytest.approx(1)


def test_correlation_may_come_from_more_pictures() -> None:
    every = planted(3)
    found = construction.measured(every[:2], correlate(every))
    assert found.correlation.n == correlate(every).n


def test_constant_channels_change_nothing_but_are_read() -> None:
    values = torch.cat([planted(3), torch.ones(12, 2, 24, 24)], dim=1)
    found = construction.measured(values)
    assert found.clusters.count == 3
    assert found.plan.inputs == 14
    assert np.isfinite(found.reach.total).all()
    dead = construction.measured(torch.zeros(2, 3, 5, 5))
    assert dead.plan.block.outputs > 0


def test_maps_smaller_than_a_lag_have_no_reach() -> None:
    found = construction.reach(torch.randn(50, 2, 1, 1), Clusters(np.array([0, 1]), "", "", "", 0.0))
    assert np.isnan(found.r[:, 1:]).all()
    assert found.shares.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_independent_channels_are_counted_by_their_eigenvalues() -> None:
    similar = correlate(planted(1))
    values = np.linalg.eigvalsh(similar.r.astype(np.float64))
    assert construction.dimensions(similar) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=2), st.integers(1, 9))
def test_shares_are_shares(r: list[float], size: int) -> None:
    shares = Reach(np.array([[1.0, *r]]), np.array([size])).shares
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(
    budget=st.integers(2_000_000, 200_000_000),
    shares=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1)),
    groups=st.sampled_from([0, 1, 2, 4, 8]),
)
def test_a_blocks_budget_is_kept_within_one_more_channel(budget: int, shares: tuple[float, float, float], groups: int) -> None:
    total = sum(shares)
    plan = Plan(256, (shares[0] / total, shares[1] / total, shares[2] / total), 0.2, 0.1, groups)
    block = construction.fitted(plan.block, plan.inputs, 14, budget)
    assert construction.macs(block, 256, 14) <= budget
    assert all(construction.macs(wider, 256, 14) > budget for wider in block.wider())


def test_too_small_a_budget_is_refused_with_the_least_that_does() -> None:
    with pytest.raises(construction.TooFewMacs, match=r"at least [\d,]+ multiply-accumulates"):
        construction.fitted(Block(1, 1, 1, 1, 1, 1), 64, 14, 10)


@pytest.mark.parametrize(
    "block", [Block(5, 4, 8, 2, 6, 3), Block(5, 8, 8, 6, 6, 3, 0, 0), Block(5, 8, 8, 4, 4, 3, 4, 2), Block(three=6), Block(2, 3, 4)]
)
def test_the_code_runs_and_costs_what_it_says(block: Block) -> None:
    """The file is executed by itself; its module gives the channels and takes the multiply-accumulates that stand in its first line."""
    source = construction.code(block, 12, 9)
    space: dict = {"__name__": "constructed"}
    exec(compile(source, "constructed.py", "exec"), space)
    made = space["Constructed"]().eval()
    with torch.inference_mode():
        assert made(torch.randn(2, 12, 9, 9)).shape == (2, block.outputs, 9, 9)
    weights = sum(p.numel() for p in made.parameters() if p.ndim == 4)
    assert weights * 81 == construction.macs(block, 12, 9)
    assert f"{weights * 81:,} multiply-accumulates" in source


def test_the_architects_own_blocks_are_read_from_the_graph() -> None:
    with torch.device("meta"):
        network = models.ARCHITECTURES["googlenet"].build(num_classes=3)
    found = describe_network(network.to_empty(device="cpu"), 64)
    paper = GOOGLENET["3b"]
    own, macs = construction.architects_own(found, "3b")
    assert own == Block(paper.one, paper.reduce_three, paper.three, paper.reduce_five, paper.five, paper.pool)
    assert macs < construction.macs(own, paper.inputs, 8)  # torchvision's 5x5 is a 3x3
    assert construction.following(found, "3a") == "3b"
    assert construction.following(found, "5b") is None
    assert construction.following_side(found, "3b") == found.block("4a").height
    assert counted(network.to("meta"), 64).macs == found.macs
