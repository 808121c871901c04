"""Knock-outs against a naive full re-run, their numbers against the definitions, and random sets that match."""

import math

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import analysis, knockouts
from inception_viz.activations import Target, capture
from inception_viz.architecture import describe
from inception_viz.clusters import Clusters, find
from inception_viz.errors import Cancelled, UnknownChoice
from inception_viz.images import Picture
from inception_viz.knockouts import Scene, Trial
from inception_viz.models import Model
from tests.test_validation import block, clusters

BLOCKS = ["3a", "4c", "5b"]


@pytest.fixture(scope="module")
def inputs(googlenet: Model, chelsea: Picture) -> torch.Tensor:
    """The cat, its mirror image and its negative."""
    cat = googlenet.input(chelsea)
    return torch.cat([cat, cat.flip(3), -cat])


@pytest.fixture(scope="module")
def found(googlenet: Model, chelsea: Picture) -> dict[str, Clusters]:
    done = analysis.analyze(googlenet, chelsea)
    return {name: find(done.blocks[name].correlation, count=3) for name in BLOCKS}


def rerun(model: Model, inputs: torch.Tensor, name: str, gone: np.ndarray, instead: torch.Tensor) -> np.ndarray:
    """The whole network again, with a hook that changes the block's output: the definition."""
    mask = torch.from_numpy(gone)[None, :, None, None]
    layer = model.network.get_submodule(describe(model).block(name).module)
    hook = layer.register_forward_hook(lambda module, given, output: torch.where(mask, instead, output))
    try:
        with torch.no_grad():
            return model.network(inputs[:1])[0].numpy()
    finally:
        hook.remove()


@pytest.mark.parametrize("baseline", list(knockouts.BASELINES))
@pytest.mark.parametrize("name", BLOCKS)
def test_logits_are_those_of_a_full_re_run(
    googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters], name: str, baseline: str
) -> None:
    scene = knockouts.scene(googlenet, inputs, name, baseline=baseline)
    with torch.no_grad():
        several = capture(googlenet, inputs, gradients=False).activations[name]
    instead = {
        "zero": torch.zeros_like(several[:1]),
        "mean": several.mean((0, 2, 3), keepdim=True).expand_as(several[:1]),
        "resample": several[1:2],
    }
    gone = np.stack([found[name].labels == k for k in range(3)] + [found[name].labels != 0])
    logits = knockouts.run(googlenet, scene, gone)
    for mask, given_logits in zip(gone, logits, strict=True):
        assert given_logits == pytest.approx(rerun(googlenet, inputs, name, mask, instead[baseline]), abs=1e-4)


def test_falls_are_captums_for_the_same_masks(googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters]) -> None:
    scene = knockouts.scene(googlenet, inputs[:1], "4c", baseline=knockouts.ZERO)
    labels = np.where(found["4c"].labels < 0, 3, found["4c"].labels)
    layer = googlenet.network.get_submodule(describe(googlenet).block("4c").module)
    method = captum.attr.LayerFeatureAblation(lambda x: googlenet.network(x)[:, scene.target.index], layer)
    theirs = method.attribute(inputs[:1], layer_mask=torch.from_numpy(labels).view(1, -1, 1, 1))[0].amax((1, 2)).numpy()
    gone = np.stack([labels == k for k in range(3)])
    falls = knockouts.effect(scene, knockouts.run(googlenet, scene, gone)).fall
    assert falls == pytest.approx([theirs[labels == k][0] for k in range(3)], abs=1e-4)


def test_nothing_gone_changes_nothing_and_equal_sets_run_once(googlenet: Model, inputs: torch.Tensor) -> None:
    scene = knockouts.scene(googlenet, inputs, "5b")
    ticks: list[int] = []
    logits = knockouts.run(googlenet, scene, np.zeros((500, 1024), bool), lambda: ticks.append(1))
    assert len(ticks) == 1
    assert logits == pytest.approx(np.tile(scene.logits, (500, 1)), abs=1e-4)
    effect = knockouts.effect(scene, scene.logits[None])
    assert (effect.fall, effect.odds, effect.kl) == (pytest.approx([0]), pytest.approx([0]), pytest.approx([0]))
    assert effect.rank == [1]


logit = st.floats(-30, 30)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(logit, min_size=3, max_size=3), st.lists(logit, min_size=3, max_size=3), st.sampled_from([None, 1]))
def test_effects_are_those_of_the_definitions(before: list[float], after: list[float], against: int | None) -> None:
    scene = Scene(block([1]), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), np.array(before), Target(0, against))
    found = knockouts.effect(scene, np.array([after]))

    def softmax(values: list[float]) -> list[float]:
        total = math.fsum(math.exp(v - max(values)) for v in values)
        return [math.exp(v - max(values)) / total for v in values]

    p, q = softmax(before), softmax(after)
    value = [v[0] - (v[1] if against else 0) for v in (before, after)]
    assert found.fall[0] == pytest.approx(value[0] - value[1], abs=1e-9)
    assert found.kl[0] == pytest.approx(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-6)
    odds = [v[0] - math.log(math.exp(v[1]) + math.exp(v[2])) for v in (before, after)]
    assert found.odds[0] == pytest.approx(odds[0] - odds[1], abs=1e-9)
    assert found.rank[0] == 1 + sum(v > after[0] for v in after)


def test_p_and_z_are_those_of_the_definitions() -> None:
    trial = Trial(3.0, np.array([1.0, 2.0, 3.0, 4.0]))
    assert trial.p == pytest.approx(3 / 5)
    assert trial.z == pytest.approx((3 - 2.5) / np.std([1, 2, 3, 4], ddof=1))
    assert Trial(1.0, trial.controls, least=True).p == pytest.approx(2 / 5)
    assert math.isnan(Trial(1.0, np.ones(5)).z)
    assert Trial(1.0, np.ones(5)).p == 1


def strengths(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, size=count)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_stand_ins_are_of_the_same_branches_live_and_never_twice(seed: int, size: int) -> None:
    rng, where = np.random.default_rng(seed), block([20, 30, 10])
    live = rng.random(60) > 0.2
    members = np.sort(rng.permutation(np.flatnonzero(live))[:size])
    found = knockouts.matched(members, where, strengths(seed, 60), live, 7, seed)
    assert (where.branch_of[found] == where.branch_of[members]).all()
    assert live[found].all()
    assert all(len(set(row)) == len(members) for row in found.tolist())
    room = [(live & (where.branch_of == b)).sum() >= 2 * (where.branch_of[members] == b).sum() for b in range(3)]
    assert not all(room) or not np.isin(found, members).any()


def test_stand_ins_are_as_strong() -> None:
    where, strength = block([200, 300]), strengths(3, 500)
    members = np.random.default_rng(1).permutation(500)[:60]
    found = knockouts.matched(members, where, strength, np.ones(500, bool), 50)
    assert strength[found].sum(1).mean() == pytest.approx(strength[members].sum(), rel=0.1)
    assert len({tuple(sorted(row)) for row in found.tolist()}) == 50


def test_a_cluster_that_is_a_whole_branch_is_its_own_control() -> None:
    members = np.arange(5)
    found = knockouts.matched(members, block([5, 5]), strengths(4, 10), np.ones(10, bool), 3)
    assert (np.sort(found, 1) == members).all()


def test_knock_outs_hold_together(googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters]) -> None:
    scene, ticks = knockouts.scene(googlenet, inputs, "5b", Target(3, 7)), []
    done = knockouts.knock_out(googlenet, scene, found["5b"], 20, lambda: ticks.append(1))
    assert len(ticks) <= knockouts.evaluations(3, 20)
    assert done.value == pytest.approx(scene.logits[3] - scene.logits[7])
    assert done.rank == 1 + (scene.logits > scene.logits[3]).sum()
    labels = found["5b"].labels
    for k, one in enumerate(done.outcomes):
        out, alone, nothing = knockouts.effect(
            scene, knockouts.run(googlenet, scene, np.stack([labels == k, labels != k, labels > -2]))
        ).fall
        assert one.necessity.value == pytest.approx(out, abs=1e-5)
        assert one.sufficiency.value == pytest.approx(alone, abs=1e-5)
        assert done.whole == pytest.approx(nothing, abs=1e-5)
        assert one.size == (labels == k).sum()
        assert len(one.necessity.controls) == len(one.shift.controls) == len(one.sufficiency.controls) == 20
        assert 0.5 < one.strength < 2
        assert 0 <= one.overlap <= 1
        assert one.necessity.p >= 1 / 21
    assert (done.q >= [one.necessity.p - 1e-12 for one in done.outcomes]).all()


def test_clusters_that_are_random_sets_are_called_needed_at_the_stated_rate(googlenet: Model, inputs: torch.Tensor) -> None:
    """A random set among random sets of its branch and strength: its p must be small no more often than it says."""
    scene, p = knockouts.scene(googlenet, inputs, "5b"), []
    live = scene.strength > 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        labels = np.full(1024, -1)
        labels[live] = 0
        labels[rng.permutation(np.flatnonzero(live))[:200]] = 1 + np.arange(200) // 20
        done = knockouts.knock_out(googlenet, scene, clusters(labels.tolist()), 20)
        p += [one.necessity.p for one in done.outcomes[1:]]
    assert len(p) == 60
    assert np.mean(np.array(p) <= 0.05) < 0.15
    assert 0.35 < np.mean(p) < 0.65


def test_two_at_once_are_the_joint_fall_less_the_single_ones(googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters]) -> None:
    scene, ticks = knockouts.scene(googlenet, inputs, "4c", baseline=knockouts.ZERO), []
    done = knockouts.interactions(googlenet, scene, found["4c"], 4, tick=lambda: ticks.append(1))
    labels = found["4c"].labels
    gone = np.stack([labels == 0, labels == 1, (labels == 0) | (labels == 1)])
    one, other, both = knockouts.effect(scene, knockouts.run(googlenet, scene, gone)).fall
    assert done.joint[0, 1] == pytest.approx(both - one - other, abs=1e-4)
    assert done.joint == pytest.approx(done.joint.T, nan_ok=True)
    assert np.isnan(np.diagonal(done.joint)).all()
    assert np.nanmin(done.p) >= 1 / 5
    assert len(ticks) <= knockouts.interaction_evaluations(3, 4)


def test_after_the_last_block_effects_add_up(googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters]) -> None:
    """From 5b to the logits all is linear: no two clusters interact, and necessity and sufficiency sum to the whole block's fall."""
    scene = knockouts.scene(googlenet, inputs, "5b")
    assert np.nanmax(np.abs(knockouts.interactions(googlenet, scene, found["5b"], 2).joint)) < 1e-4
    done = knockouts.knock_out(googlenet, scene, found["5b"], 2)
    for one in done.outcomes:
        assert one.necessity.value + one.sufficiency.value == pytest.approx(done.whole, abs=1e-4)


def test_one_cluster_and_none(googlenet: Model, inputs: torch.Tensor) -> None:
    scene = knockouts.scene(googlenet, inputs, "5b")
    one = clusters([0] * 1024)
    done = knockouts.knock_out(googlenet, scene, one, 2)
    assert done.outcomes[0].necessity.value == pytest.approx(done.whole)
    assert done.outcomes[0].overlap == 1
    assert knockouts.interactions(googlenet, scene, one, 2).joint.shape == (1, 1)
    none = knockouts.knock_out(googlenet, scene, clusters([-1] * 1024), 2)
    assert none.outcomes == ()
    assert none.q.shape == (0,)
    assert knockouts.interactions(googlenet, scene, clusters([-1] * 1024), 2).joint.shape == (0, 0)


def test_another_picture_must_be_there_and_the_block_too(googlenet: Model, inputs: torch.Tensor) -> None:
    with pytest.raises(knockouts.NeedsAnotherPicture, match="at least 2"):
        knockouts.scene(googlenet, inputs[:1], "4c", baseline=knockouts.RESAMPLE)
    with pytest.raises(UnknownChoice):
        knockouts.scene(googlenet, inputs, "9z")


def test_work_can_be_stopped_and_leaves_no_hook(googlenet: Model, inputs: torch.Tensor, found: dict[str, Clusters]) -> None:
    def stop() -> None:
        raise Cancelled()

    with pytest.raises(Cancelled):
        knockouts.knock_out(googlenet, knockouts.scene(googlenet, inputs, "5b"), found["5b"], 2, stop)
    assert not any(module._forward_hooks for module in googlenet.network.modules())


def test_the_summary_is_plain_numbers(googlenet: Model, inputs: torch.Tensor) -> None:
    scene = knockouts.scene(googlenet, inputs, "5b")
    told = knockouts.summary(knockouts.knock_out(googlenet, scene, clusters([0] * 1024), 2), "mean")
    assert told["controls"] == 2
    (only,) = told["clusters"]
    assert only["necessity_logits"]["z"] is None
    assert only["necessity_logits"]["p"] == 1
    assert only["size"] == 1024
