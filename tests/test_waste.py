"""Waste is what its definitions say, and what removing it saves is what PyTorch counts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from scipy.stats import binomtest, entropy
from torch import nn

from inception_viz import nulls, pruning, waste
from inception_viz.activations import capture
from inception_viz.architecture import Block, Branch, describe
from inception_viz.images import Picture
from inception_viz.measurement import OutOfRange, conditions
from inception_viz.models import Model
from inception_viz.waste import CONSTANT, COPY, DEAD, USED, Seen

BLOCK = Block("x", "x.cat", 6, 4, 4, (Branch("1x1", 0, 3), Branch("pool", 3, 6)), "y")


def ended(running):
    shares = []
    while True:
        try:
            shares.append(next(running))
        except StopIteration as end:
            assert shares == sorted(shares)
            assert shares[-1] == pytest.approx(1.0)
            return end.value


def seen(values: np.ndarray) -> Seen:
    """Statistics of samples `(6, n)`, from numpy alone."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.corrcoef(values).astype(np.float32)
    return Seen(BLOCK, values.shape[1], values.max(1), values.mean(1), values.std(1), r, math.nan)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 1.0])
def test_near_zero_weights_are_counted_layer_by_layer(googlenet: Model, threshold: float) -> None:
    found = waste.near_zero(googlenet, threshold)
    convolutions = [m for m in googlenet.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(layer.weights for layer in found) == sum(m.weight.numel() for m in convolutions)
    assert sum(layer.macs for layer in found) == describe(googlenet).macs
    first, weight = found[0], googlenet.network.conv1.conv.weight.numpy()
    assert first.near_zero == (np.abs(weight) < threshold * np.sqrt((weight**2).mean())).sum()
    assert first.macs_near_zero == first.near_zero * 32 * 32
    share = sum(layer.near_zero for layer in found) / sum(layer.weights for layer in found)
    assert share == pytest.approx(waste.by_chance(threshold), abs=2e-3)  # drawn from a bell curve, they lie on it


def test_the_histogram_of_random_weights_is_the_bell_curve(googlenet: Model) -> None:
    assert waste.histogram(googlenet) == pytest.approx(waste.bell(), abs=5e-4)


def test_thresholds_are_refused_out_of_their_range(googlenet: Model) -> None:
    for wrong in (-0.1, 99, math.nan):
        with pytest.raises(OutOfRange):
            waste.near_zero(googlenet, wrong)
        with pytest.raises(OutOfRange):
            waste.waste(seen(np.random.default_rng(0).normal(size=(6, 9))), wrong)


def test_a_network_without_near_zero_weights_is_a_copy(googlenet: Model) -> None:
    before = googlenet.network.conv1.conv.weight.clone()
    other = pruning.without_near_zero(googlenet, 0.5)
    assert torch.equal(googlenet.network.conv1.conv.weight, before)
    zeros = sum(int((m.weight == 0).sum()) for m in other.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert zeros == sum(layer.near_zero for layer in waste.near_zero(googlenet, 0.5))


def test_views_are_the_same_for_the_same_seed_and_come_in_batches(googlenet: Model, chelsea: Picture) -> None:
    one, two, other = (torch.cat(list(waste.views(googlenet, [chelsea] * 3, 7, seed))) for seed in (0, 0, 1))
    assert one.shape == (21, 3, 64, 64)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert [len(batch) for batch in waste.views(googlenet, [chelsea] * 3, 7)] == [waste.BATCH, 5]


@given(some.integers(0, 2**31))
def test_the_effective_rank_is_the_entropy_of_the_spectrum(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(5, 30))
    covariance = np.cov(values)
    singular = np.linalg.svd(values - values.mean(1, keepdims=True), compute_uv=False) ** 2
    assert waste.effective_rank(covariance) == pytest.approx(np.exp(entropy(singular)))
    assert 1 <= waste.effective_rank(covariance) <= 5
    assert waste.effective_rank(np.outer(values[0], values[0])) == pytest.approx(1, abs=1e-4)


def test_the_rank_of_nothing_is_undefined() -> None:
    assert math.isnan(waste.effective_rank(np.zeros((3, 3))))


def test_looking_in_batches_is_looking_at_all_at_once(googlenet: Model, chelsea: Picture) -> None:
    found = ended(waste.look(googlenet, [chelsea] * 3))
    inputs = torch.cat(list(waste.views(googlenet, [chelsea] * 3, waste.LOOKED_AT)))
    activation = capture(googlenet, inputs, gradients=False).activations["4a"].movedim(1, 0).flatten(1).double().numpy()
    one = found["4a"]
    assert one.n == activation.shape[1]
    assert one.highest == pytest.approx(activation.max(1), rel=1e-4)
    assert one.mean == pytest.approx(activation.mean(1), rel=1e-3, abs=1e-5)
    assert one.deviation == pytest.approx(activation.std(1), rel=1e-3, abs=1e-4)
    assert one.rank == pytest.approx(waste.effective_rank(np.cov(activation)), rel=1e-3)


def test_each_kind_of_waste_is_found() -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(6, 200)))
    values[1] = 0  # dead
    values[2] = 3  # constant
    values[4] = 0.5 * values[3] + 1  # a copy of a stronger one
    values[5] = 9 - 0.1 * values[0]  # a copy turned round
    found = waste.waste(seen(values), 0.95)
    assert found.kind.tolist() == [USED, DEAD, CONSTANT, USED, COPY, COPY]
    stands_in = values[found.source] * found.slope[:, None] + found.offset[:, None]
    assert stands_in == pytest.approx(values, abs=1e-4)


def test_a_chain_of_copies_refers_to_channels_that_stay() -> None:
    """r(a, b) and r(b, c) may be high where r(a, c) is not: no copy is a copy of a copy."""
    generator = np.random.default_rng(1)
    values = generator.normal(size=(6, 400))
    for i in range(1, 6):
        values[i] = values[i - 1] + 0.5 * values[i]
    found = waste.waste(seen(values), 0.85)
    assert (found.kind[found.source] == USED).all()
    r = np.corrcoef(values)
    for i in np.flatnonzero(found.kind == COPY):
        assert abs(r[i, found.source[i]]) > 0.85
    kept = np.flatnonzero(found.kind == USED)
    assert np.abs(r[np.ix_(kept, kept)] - np.eye(len(kept))).max() <= 0.85 + 1e-6


def test_nothing_removed_is_the_same_network_bit_by_bit(googlenet: Model, chelsea: Picture) -> None:
    found = ended(waste.look(googlenet, [chelsea]))
    nothing = {name: waste.waste(one, 1.0) for name, one in found.items()}
    kept = {name: pruning._only(one, ()) for name, one in nothing.items()}
    inputs = googlenet.input(chelsea)
    with torch.inference_mode():
        assert torch.equal(pruning.without_channels(googlenet, kept)(inputs), googlenet.network(inputs))
    assert pruning.macs_without(googlenet, kept) == describe(googlenet).macs


def test_removing_channels_leaves_the_shared_network_as_it_is(googlenet: Model, chelsea: Picture) -> None:
    found = waste.all_waste(ended(waste.look(googlenet, [chelsea])), 0.8)
    names, inputs = dict(googlenet.network.named_modules()).keys(), googlenet.input(chelsea)
    with torch.inference_mode():
        before = googlenet.network(inputs)
        changed = pruning.without_channels(googlenet, found)(inputs)
        after = googlenet.network(inputs)
    assert torch.equal(before, after)
    assert not torch.equal(before, changed)
    assert dict(googlenet.network.named_modules()).keys() == names


def test_dead_channels_may_go_without_a_trace(googlenet: Model, chelsea: Picture) -> None:
    """On the very views on which they are dead."""
    found = ended(waste.look(googlenet, [chelsea]))
    dead = {name: pruning._only(one, (DEAD,)) for name, one in waste.all_waste(found).items()}
    assert sum(one.count(DEAD) for one in dead.values()) > 0  # an untrained network has many
    inputs = torch.cat(list(waste.views(googlenet, [chelsea], waste.LOOKED_AT)))
    with torch.inference_mode():
        assert torch.allclose(pruning.without_channels(googlenet, dead)(inputs), googlenet.network(inputs), atol=1e-5)


@pytest.mark.parametrize("fixture", ["googlenet", "inception_v3"])
def test_macs_saved_are_those_of_a_network_built_without_the_channels(fixture: str, request: pytest.FixtureRequest) -> None:
    """Half of every block's channels gone, every second one: all that makes or reads a block halves with it."""
    model: Model = request.getfixturevalue(fixture)
    described = describe(model)
    every = {}
    for block in described.blocks:
        c = block.channels
        gone = np.arange(c) % 2 == 1
        kinds = np.where(gone, CONSTANT, USED)
        every[block.name] = waste.Waste(block, kinds, np.arange(c), np.where(gone, 0.0, 1.0), np.zeros(c))
    expected = 0
    kept = {b.node: 1 - (np.arange(b.channels) % 2) for b in described.blocks}
    ends = _convolutions_that_end_branches(described)
    for node, facts in described.graph.nodes(data=True):
        if facts["operation"] not in ("convolution", "linear"):
            continue
        out = ends[node].mean() if node in ends else 1.0
        (source,) = described.graph.predecessors(node)
        while described.graph.nodes[source]["operation"] not in ("convolution", "concatenate", "input"):
            (source, *_) = described.graph.predecessors(source)
        read = kept[source].mean() if source in kept else 1.0
        expected += facts["macs"] * out * read
    assert pruning.macs_without(model, every) == pytest.approx(expected, rel=1e-6)


def _convolutions_that_end_branches(described) -> dict[str, np.ndarray]:
    """Found from the block's end, by walking back through what changes no channels."""
    found = {}
    for block in described.blocks:
        walk = [(block.node, np.arange(block.channels))]
        while walk:
            node, channels = walk.pop()
            facts = described.graph.nodes[node]
            if facts["operation"] == "convolution":
                found[node] = 1 - channels % 2
            elif facts["operation"] == "concatenate":
                start = 0
                for source in described.graph.predecessors(node):
                    stop = start + described.graph.nodes[source]["shape"][0]
                    walk.append((source, channels[start:stop]))
                    start = stop
            elif facts["operation"] in ("batch norm", "relu"):
                walk.append((next(iter(described.graph.predecessors(node))), channels))
    return found


def test_random_channels_are_as_many_in_every_block(googlenet: Model, chelsea: Picture) -> None:
    found = ended(waste.look(googlenet, [chelsea]))
    for name, one in found.items():
        asleep = waste.waste(one, 0.9)
        chance = waste.at_random(one, asleep, np.random.default_rng(0))
        assert chance.count(USED) == asleep.count(USED), name
        assert chance.offset[chance.kind != USED] == pytest.approx(one.mean[chance.kind != USED])


@pytest.mark.parametrize(("count", "n"), [(0, 5), (5, 5), (3, 96), (91, 96)])
def test_intervals_of_shares_are_wilsons(count: int, n: int) -> None:
    assert pruning.interval(count, n) == pytest.approx(binomtest(count, n).proportion_ci(method="wilson"), abs=1e-6)


def test_pruning_judges_each_kind_of_waste_and_says_on_what(googlenet: Model, chelsea: Picture) -> None:
    found = ended(pruning.prune(googlenet, [chelsea], threshold=0.1, similar=0.9))
    assert not found.labelled
    by_kind = {one.removed: one for one in found.judged}
    whole = by_kind[pruning.WHOLE]
    assert whole.same == whole.n == pruning.JUDGED_ON
    assert whole.macs == describe(googlenet).macs
    assert by_kind[pruning.IDLE].channels == by_kind[pruning.RANDOM].channels > 0
    assert by_kind[pruning.ASLEEP].macs >= by_kind[pruning.IDLE].macs
    weights = waste.near_zero(googlenet, 0.1)
    assert whole.macs - by_kind[pruning.WEIGHTS].macs == sum(layer.macs_near_zero for layer in weights)
    outcome = pruning.outcome(found)
    assert len(outcome.findings) == 2
    assert all(row["device"] == found.conditions.device for row in outcome.rows)
    assert outcome.rows[0]["right"] is None
    assert {(row["threshold"], row["similar"]) for row in outcome.rows} == {(0.1, 0.9)}


def test_pruning_can_be_stopped_between_batches(googlenet: Model, chelsea: Picture) -> None:
    class Stopped(Exception):
        pass

    def tick() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        next(pruning.prune(googlenet, [chelsea], tick=tick))


def test_findings_compare_with_an_untrained_twin(googlenet: Model, chelsea: Picture) -> None:
    one, twin = (ended(waste.look(model, [chelsea])) for model in (googlenet, nulls.twin(googlenet, 5)))
    outcome = waste.idle(waste.Idle.of(one, twin, 0.9), conditions(googlenet.device))
    assert [row["block"] for row in outcome.rows] == [block.name for block in describe(googlenet).blocks]
    assert outcome.findings[0].facts["twin_dead"] == sum(waste.waste(s, 0.9).count(DEAD) for s in twin.values())
    assert [row["constant_untrained"] for row in outcome.rows] == [waste.waste(s, 0.9).count(CONSTANT) for s in twin.values()]
    assert {row["similar"] for row in outcome.rows} == {0.9}


def test_most_weights_near_zero_would_support_the_claim(googlenet: Model) -> None:
    where = conditions(googlenet.device)
    for threshold, supported in ((0.25, False), (1.0, True)):
        few, shares = waste.near_zero(googlenet, threshold), waste.histogram(googlenet)
        outcome = waste.lazy(few, threshold, shares, where)
        assert outcome.findings[0].supported is supported
        assert [row["near_zero"] for row in outcome.rows[: len(few)]] == [layer.near_zero for layer in few]
        assert [row["share"] for row in outcome.rows[len(few) :]] == shares.tolist()
