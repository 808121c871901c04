"""Attributions are Captum's, add up where they promise to, leave nothing on the network, and are held against what really happens."""

import gc
import itertools
import math
import weakref
from collections.abc import Callable

import captum.attr
import captum.metrics
import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

from inception_viz import attributions, grids, models
from inception_viz.activations import NoSuchClass, Target, capture
from inception_viz.architecture import describe
from inception_viz.engine.local import Progress
from inception_viz.errors import Cancelled, UnknownChoice
from inception_viz.images import Picture
from inception_viz.models import Model
from tests.test_activations import hooks

BLOCK = "4c"
TARGET = Target(7)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1, 4, 512)


@pytest.fixture(scope="module")
def given(googlenet: Model, chelsea: Picture, labels: np.ndarray) -> dict[str, attributions.Attribution]:
    inputs = googlenet.input(chelsea)
    return {m: attributions.attribute(googlenet, inputs, TARGET, BLOCK, m, labels) for m in attributions.METHODS}


def test_one_pass_gives_captums_gradient_x_activation(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    ours = attributions.from_capture(capture(googlenet, inputs, TARGET), 0)
    layers = [googlenet.network.get_submodule(b.module) for b in describe(googlenet).blocks]
    theirs = captum.attr.LayerGradientXActivation(googlenet.network, layers).attribute(inputs.clone(), target=7)
    for block, expected in zip(describe(googlenet).blocks, theirs, strict=True):
        assert ours[block.name].maps == pytest.approx(expected[0].detach().numpy(), abs=1e-6)


@pytest.mark.parametrize(("method", "captums"), [
    ("integrated gradients", captum.attr.LayerIntegratedGradients),
    ("conductance", captum.attr.LayerConductance),
])  # fmt: skip
def test_path_methods_are_captums(googlenet: Model, chelsea: Picture, given: dict, method: str, captums: type) -> None:
    inputs = googlenet.input(chelsea)
    layer = googlenet.network.inception4c
    expected = captums(googlenet.network, layer).attribute(inputs, torch.zeros_like(inputs), target=7, n_steps=attributions.STEPS)
    assert given[method].maps == pytest.approx(expected[0].detach().numpy(), abs=1e-5)


def test_grad_cam_summed_over_channels_is_captums(googlenet: Model, chelsea: Picture, given: dict) -> None:
    expected = captum.attr.LayerGradCam(googlenet.network, googlenet.network.inception4c).attribute(googlenet.input(chelsea), target=7)
    assert given["grad-cam"].maps.sum(0) == pytest.approx(expected[0, 0].detach().numpy(), abs=1e-5)


def test_integrated_gradients_add_up(googlenet: Model, chelsea: Picture, given: dict) -> None:
    """The sum over all channels is f(x) - f(baseline), and the delta says by how much it is not."""
    inputs = googlenet.input(chelsea)
    with torch.no_grad():
        change = float(googlenet.network(inputs)[0, 7] - googlenet.network(torch.zeros_like(inputs))[0, 7])
    for method in ("integrated gradients", "conductance"):
        attribution = given[method]
        assert attribution.channels.sum() - change == pytest.approx(attribution.completeness_delta, abs=1e-4)
    assert abs(given["integrated gradients"].completeness_delta) < 0.02 * max(1, abs(change))
    assert given["grad-cam"].completeness_delta is None


def test_ablation_is_the_fall_when_a_cluster_is_zero(googlenet: Model, chelsea: Picture, labels: np.ndarray, given: dict) -> None:
    inputs = googlenet.input(chelsea)
    falls = given["ablation by cluster"].by_cluster(labels)
    for cluster in range(4):
        members = torch.from_numpy(np.flatnonzero(labels == cluster))

        def silence(module: torch.nn.Module, read: object, written: torch.Tensor, members: torch.Tensor = members) -> torch.Tensor:
            written = written.clone()
            written[:, members] = 0
            return written

        handle = googlenet.network.inception4c.register_forward_hook(silence)
        with torch.no_grad():
            silenced = googlenet.network(inputs)[0, 7]
        handle.remove()
        with torch.no_grad():
            assert falls[cluster] == pytest.approx(float(googlenet.network(inputs)[0, 7] - silenced), abs=1e-4)


@pytest.mark.parametrize("method", attributions.METHODS)
def test_the_difference_of_classes_is_the_difference_of_attributions(
    googlenet: Model, chelsea: Picture, labels: np.ndarray, given: dict, method: str
) -> None:
    inputs = googlenet.input(chelsea)
    other = attributions.attribute(googlenet, inputs, Target(3), BLOCK, method, labels).channels
    both = attributions.attribute(googlenet, inputs, Target(7, 3), BLOCK, method, labels).channels
    assert both == pytest.approx(given[method].channels - other, abs=1e-4)


def test_sums_by_cluster_and_branch(googlenet: Model, labels: np.ndarray, given: dict) -> None:
    attribution = given["gradient x activation"]
    assert attribution.by_cluster(labels) == pytest.approx([attribution.channels[labels == k].sum() for k in range(4)], abs=1e-6)
    block = describe(googlenet).block(BLOCK)
    assert attribution.by_branch(block).sum() == pytest.approx(attribution.channels.sum(), abs=1e-5)
    assert attributions.cluster_map(attribution.maps, np.array([1, 5])) == pytest.approx(attribution.maps[1] + attribution.maps[5])


@pytest.mark.parametrize("method", attributions.PIXEL_METHODS)
def test_pixel_maps_cover_the_picture_and_repeat(googlenet: Model, chelsea: Picture, method: str) -> None:
    inputs = googlenet.input(chelsea)
    first, second = (attributions.attribute_pixels(googlenet, inputs, TARGET, method) for _ in range(2))
    assert first.shape == (64, 64)
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)
    assert attributions.PIXEL_METHODS[method].signed or first.min() >= 0


def test_pixel_integrated_gradients_are_captums(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    expected = captum.attr.IntegratedGradients(googlenet.network).attribute(inputs, target=7, n_steps=attributions.STEPS)
    found = attributions.attribute_pixels(googlenet, inputs, TARGET, "integrated gradients")
    assert found == pytest.approx(expected[0].sum(0).numpy(), abs=1e-5)


@pytest.mark.parametrize("method", attributions.METHODS)
def test_work_that_is_stopped_leaves_no_hook(googlenet: Model, chelsea: Picture, labels: np.ndarray, method: str) -> None:
    evaluations = []

    def stop_at_the_second() -> None:
        evaluations.append(1)
        if len(evaluations) == 2 or attributions.METHODS[method].evaluations == 1:
            raise Cancelled()

    with pytest.raises(Cancelled):
        attributions.attribute(googlenet, googlenet.input(chelsea), TARGET, BLOCK, method, labels, stop_at_the_second)
    assert hooks(googlenet.network) == 0


@pytest.mark.parametrize("method", attributions.METHODS)
def test_progress_does_not_run_past_its_end(googlenet: Model, chelsea: Picture, labels: np.ndarray, method: str) -> None:
    entry = attributions.METHODS[method]
    progress = Progress(entry.evaluations)
    attributions.attribute(googlenet, googlenet.input(chelsea), TARGET, BLOCK, method, labels, progress.tick)
    assert 0 <= progress.fraction <= 1
    assert hooks(googlenet.network) == 0


def test_unknown_methods_are_refused_and_blind_ones_are_not_offered(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    with pytest.raises(UnknownChoice):
        attributions.attribute(googlenet, inputs, TARGET, BLOCK, "deep lift")
    with pytest.raises(UnknownChoice):
        attributions.attribute(googlenet, inputs, TARGET, "9z", "grad-cam")
    with pytest.raises(UnknownChoice):
        attributions.attribute_pixels(googlenet, inputs, TARGET, "guided backprop")


def test_classes_that_do_not_exist_are_refused(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    with pytest.raises(NoSuchClass):
        attributions.attribute(googlenet, inputs, Target(googlenet.classes), BLOCK, "grad-cam")
    with pytest.raises(NoSuchClass):
        attributions.attribute_pixels(googlenet, inputs, Target(0, -1), "occlusion")


@pytest.mark.parametrize("method", attributions.METHODS)
def test_a_result_is_float32_and_cannot_be_written(given: dict, method: str) -> None:
    attribution = given[method]
    for array in (attribution.channels, attribution.maps):
        if array is not None:
            assert array.dtype == np.float32
            assert not array.flags.writeable
    assert attribution.without_maps().maps is None


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_gradient_x_activation_is_exact_for_the_last_block(name: str, chelsea: Picture, request: pytest.FixtureRequest) -> None:
    """After the last block there is only a mean and a linear layer: the sum is the logit less its bias."""
    model: Model = request.getfixturevalue(name)
    last = describe(model).blocks[-1].name
    for target in (Target(7), Target(7, 3)):
        taken = capture(model, model.input(chelsea), target)
        given = attributions.from_capture(taken, 0)[last].channels.sum()
        assert given == pytest.approx(float(target.of(taken.logits[0]) - target.of(model.network.fc.bias)), abs=1e-4)


def test_a_block_of_nested_branches_is_attributed_like_any_other(inception_v3: Model, chelsea: Picture) -> None:
    inputs = inception_v3.input(chelsea)
    taken = capture(inception_v3, inputs, TARGET)
    found = attributions.attribute(inception_v3, inputs, TARGET, "7b", "gradient x activation")
    assert found.maps == pytest.approx(attributions.from_capture(taken, 0)["7b"].maps, abs=1e-6)
    cam = attributions.attribute(inception_v3, inputs, TARGET, "7b", "grad-cam").maps
    mean = taken.gradients["7b"].mean((2, 3), keepdim=True)
    assert cam == pytest.approx((mean * taken.activations["7b"])[0].numpy(), abs=1e-6)


@pytest.mark.parametrize("labels", [np.full(512, -1), np.zeros(512, int), np.arange(512) % 11])
def test_ablation_takes_any_clusters(googlenet: Model, chelsea: Picture, labels: np.ndarray) -> None:
    """None, one, or more than fit into one batch: the fall is that of the network without the cluster."""
    inputs = googlenet.input(chelsea)
    falls = attributions.attribute(googlenet, inputs, TARGET, BLOCK, "ablation by cluster", labels).by_cluster(labels)
    whole, rest = capture(googlenet, inputs, TARGET).activations[BLOCK], attributions.after(googlenet, BLOCK)
    for cluster, fall in enumerate(falls):
        left = whole * torch.from_numpy(labels != cluster)[:, None, None]
        assert fall == pytest.approx(float(rest(whole)[0, 7] - rest(left)[0, 7]), abs=1e-4)
    assert len(falls) == labels.max() + 1


# By hand, on a network small and smooth enough for integrals.


@pytest.fixture(scope="module")
def small() -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network.requires_grad_(False)


def small_picture(seed: int) -> torch.Tensor:
    return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def integral(function: Callable[[float], np.ndarray], steps: int = 64) -> np.ndarray:
    """Over [0, 1], by Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return sum(w / 2 * function((1 + p) / 2) for p, w in zip(places, weights, strict=True))


@settings(max_examples=8, deadline=None)
@drawn(seed=st.integers(0, 2**31))
def test_integrated_gradients_are_the_integral(small: nn.Sequential, seed: int) -> None:
    """Of the gradient on the straight way between the two activations, times their difference; and the delta is the miss of the sum."""
    inputs, before, rest = small_picture(seed), small[:2], small[2:]
    start, end = before(torch.zeros_like(inputs)), before(inputs)

    def gradient(t: float) -> np.ndarray:
        at = (start + t * (end - start)).requires_grad_()
        return torch.autograd.grad(rest(at)[0, 1], at)[0].numpy()

    found = attributions.METHODS["integrated gradients"].run(lambda x: small(x)[:, 1], small[1], inputs, None)
    assert found.maps == pytest.approx((integral(gradient) * (end - start).numpy())[0], abs=1e-5)
    change = float(small(inputs)[0, 1] - small(torch.zeros_like(inputs))[0, 1])
    assert found.completeness_delta == pytest.approx(found.channels.sum() - change, abs=1e-5)
    assert found.completeness_delta == pytest.approx(0, abs=1e-4)


def test_conductance_is_the_integral_of_what_flows_through(small: nn.Sequential) -> None:
    """Of dF/da da/dt on the straight way between the two pictures; Captum's sum of differences comes near with few steps."""
    inputs, before, rest = small_picture(2), small[:2], small[2:]

    def flow(t: float) -> np.ndarray:
        at, moved = torch.autograd.functional.jvp(before, t * inputs, inputs)
        at = at.detach().requires_grad_()
        return (torch.autograd.grad(rest(at)[0, 1], at)[0] * moved).detach().numpy()

    found = attributions.METHODS["conductance"].run(lambda x: small(x)[:, 1], small[1], inputs, None)
    expected = integral(flow)[0]
    assert np.abs(found.maps - expected).max() < 0.1 * np.abs(expected).max()
    assert np.corrcoef(found.maps.ravel(), expected.ravel())[0, 1] > 0.995


# Pixels.


def test_smoothgrad_is_the_mean_of_noisy_saliencies(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    generator = torch.Generator().manual_seed(attributions.SEED)
    noise = torch.randn(attributions.NOISE_SAMPLES, *inputs.shape[1:], generator=generator)
    total = torch.zeros_like(inputs[0])
    for one in noise * attributions.NOISE * (inputs.max() - inputs.min()):
        noisy = (inputs + one).requires_grad_()
        total += torch.autograd.grad(googlenet.network(noisy)[0, 7], noisy)[0][0].abs()
    expected = (total / len(noise)).amax(0).numpy()
    assert attributions.attribute_pixels(googlenet, inputs, TARGET, "saliency (SmoothGrad)") == pytest.approx(expected, abs=1e-5)


def test_occlusion_is_the_mean_fall_under_the_squares_that_cover_a_place(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    side, window, stride = 64, 10, 5
    corners = range(0, math.ceil((side - window) / stride) * stride + 1, stride)
    covered = torch.zeros(len(corners) ** 2, 1, side, side)
    for square, (top, left) in zip(covered, itertools.product(corners, repeat=2), strict=True):
        square[:, top : top + window, left : left + window] = 1
    with torch.no_grad():
        falls = googlenet.network(inputs)[0, 7] - googlenet.network(inputs * (1 - covered))[:, 7]
    expected = (falls.view(-1, 1, 1, 1) * covered).sum(0) / covered.sum(0)
    found = attributions.attribute_pixels(googlenet, inputs, TARGET, "occlusion")
    assert found == pytest.approx(expected[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("target", [Target(7, 3), Target(3, 7)])
def test_pixel_grad_cam_is_what_speaks_for_the_target_in_the_last_block(googlenet: Model, chelsea: Picture, target: Target) -> None:
    """What speaks against it is left out: one of two opposite targets has some."""
    taken = capture(googlenet, googlenet.input(chelsea), target)
    summed = (taken.gradients["5b"].mean((2, 3), keepdim=True) * taken.activations["5b"]).sum(1, keepdim=True).relu()
    cells = grids.grid(describe(googlenet).block("5b"), 64)
    expected = grids.enlarged(summed[0, 0].numpy(), 64, cells)
    found = attributions.attribute_pixels(googlenet, googlenet.input(chelsea), target, "grad-cam")
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", attributions.PIXEL_METHODS)
def test_pixel_work_counts_its_evaluations_and_leaves_no_hook_when_stopped(googlenet: Model, chelsea: Picture, method: str) -> None:
    entry = attributions.PIXEL_METHODS[method]
    ticks = []
    attributions.attribute_pixels(googlenet, googlenet.input(chelsea), TARGET, method, lambda: ticks.append(1))
    assert len(ticks) == entry.evaluations

    def stop() -> None:
        ticks.append(1)
        if len(ticks) == 2 * entry.evaluations:
            raise Cancelled()

    with pytest.raises(Cancelled):
        attributions.attribute_pixels(googlenet, googlenet.input(chelsea), TARGET, method, stop)
    assert hooks(googlenet.network) == 0


def test_an_error_inside_the_network_leaves_no_hook(googlenet: Model, labels: np.ndarray) -> None:
    wrong = torch.zeros(1, 4, 64, 64)
    for method in attributions.METHODS:
        with pytest.raises(RuntimeError):
            attributions.attribute(googlenet, wrong, TARGET, BLOCK, method, labels)
    for method in attributions.PIXEL_METHODS:
        with pytest.raises(RuntimeError):
            attributions.attribute_pixels(googlenet, wrong, TARGET, method)
    assert hooks(googlenet.network) == 0
    assert all(p.grad is None for p in googlenet.network.parameters())


def test_hooks_that_were_there_before_stay(googlenet: Model) -> None:
    handle = googlenet.network.fc.register_forward_hook(lambda module, read, written: None)
    try:
        with attributions.untouched(googlenet.network):
            googlenet.network.fc.register_forward_hook(lambda module, read, written: None)
        assert hooks(googlenet.network) == 1
    finally:
        handle.remove()


def test_the_global_generators_are_left_alone(googlenet: Model, chelsea: Picture, given: dict) -> None:
    inputs = googlenet.input(chelsea)
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    attributions.attribute_pixels(googlenet, inputs, TARGET, "saliency (SmoothGrad)")
    attributions.faithfulness(googlenet, inputs, TARGET, "5b", attributions.from_capture(capture(googlenet, inputs, TARGET), 0)["5b"])
    attributions.sensitivity(lambda x: x.detach().numpy(), inputs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002


# Faithfulness.


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_what_comes_after_a_block_gives_the_same_logits(name: str, chelsea: Picture, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    taken = capture(model, model.input(chelsea), gradients=False)
    with torch.no_grad():
        for block in describe(model).blocks:
            rest = attributions.after(model, block.name)
            assert torch.allclose(rest(taken.activations[block.name]), taken.logits, atol=1e-6)
            assert not rest.training


def test_a_forgotten_model_takes_its_rests_along() -> None:
    model = models.load("googlenet", "random", "cpu")
    attributions.after(model, "5b")
    gone = weakref.ref(model.network)
    del model
    gc.collect()
    assert gone() is None


def naive_curve(model: Model, inputs: torch.Tensor, block: str, order: np.ndarray, start: bool) -> list[float]:
    """The logit of class 7 while channels go (start: all are there) or come, by a hook and a whole pass each time."""
    there = torch.full((len(order),), start)
    values = []
    handle = model.network.get_submodule(describe(model).block(block).module).register_forward_hook(
        lambda module, read, written: written * there.view(1, -1, 1, 1)
    )
    try:
        for cut in np.linspace(0, len(order), attributions.CUTS + 1).round().astype(int):
            there[order[:cut]] = not start
            with torch.no_grad():
                values.append(float(model.network(inputs)[0, 7]))
    finally:
        handle.remove()
    return values


def test_curves_are_those_of_whole_passes_with_channels_taken_away(googlenet: Model, chelsea: Picture, given: dict) -> None:
    inputs = googlenet.input(chelsea)
    attribution = given["gradient x activation"]
    order = np.argsort(-attribution.channels, kind="stable")
    found = attributions.faithfulness(googlenet, inputs, TARGET, BLOCK, attribution)
    assert found.deletion.values == pytest.approx(naive_curve(googlenet, inputs, BLOCK, order, True), abs=1e-4)
    assert found.insertion.values == pytest.approx(naive_curve(googlenet, inputs, BLOCK, order, False), abs=1e-4)
    assert found.deletion.share == pytest.approx(np.linspace(0, 1, attributions.CUTS + 1), abs=0.001)
    assert hooks(googlenet.network) == 0


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_captums_for_the_same_subsets(googlenet: Model, chelsea: Picture, scaled: bool) -> None:
    inputs = googlenet.input(chelsea)
    whole, rest = capture(googlenet, inputs, TARGET).activations["5a"], attributions.after(googlenet, "5a")
    scores = attributions.from_capture(capture(googlenet, inputs, TARGET), 0)["5a"]
    there = np.random.default_rng(5).random((12, len(scores.channels))) > 0.3
    gone = torch.from_numpy(~there).float()[:, :, None, None]
    theirs = captum.metrics.infidelity(
        lambda activation: rest(activation)[:, 7],
        lambda activation: (gone.expand_as(activation), activation * (1 - gone)),
        whole, torch.tensor(scores.maps)[None], n_perturb_samples=12, normalize=scaled,
    )  # fmt: skip
    with torch.no_grad():
        falls = (rest(whole)[:, 7] - rest(whole * (1 - gone))[:, 7]).double().numpy()
    ours = attributions._infidelity(there, falls, scores.channels.astype(float), scaled)
    assert ours == pytest.approx(float(theirs), rel=1e-3)


def linear(weights: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda there: there @ weights + 2.0


@settings(max_examples=25, deadline=None)
@drawn(weights=st.lists(st.integers(-20, 20), min_size=2, max_size=30))
def test_true_contributions_of_a_sum_are_wholly_faithful(weights: list[int]) -> None:
    """Where the target is a sum of its pieces nothing beats their own values, and every fall is foretold."""
    true = np.array(weights, float)
    found = attributions._faithfulness(linear(true), true, False)
    assert found.infidelity == pytest.approx(0, abs=1e-9)
    assert (found.chance <= found.gap + 1e-9).all()
    assert found.deletion.values[[0, -1]] == pytest.approx([2 + true.sum(), 2])
    assert found.insertion.values[[0, -1]] == pytest.approx([2, 2 + true.sum()])
    assert found.deletion.values + found.insertion.values == pytest.approx(np.full(len(found.deletion.share), 4 + true.sum()))
    backwards = attributions._faithfulness(linear(true), -true, True)
    assert backwards.gap <= found.gap
    assert backwards.infidelity == pytest.approx(0, abs=1e-9)


def test_a_ranking_by_chance_is_told_from_a_true_one() -> None:
    """Over 200 wrong rankings p is small as seldom as it should be; over 200 true ones it is always as small as it can be."""
    rng = np.random.default_rng(3)
    p_wrong, p_true = [], []
    for _ in range(200):
        weights = rng.normal(size=20)
        p_wrong.append(attributions._faithfulness(linear(weights), rng.normal(size=20), False).p)
        p_true.append(attributions._faithfulness(linear(weights), weights, False).p)
    assert p_true == [1 / (1 + attributions.ORDERS)] * 200
    assert np.mean(np.array(p_wrong) <= 0.1) < 0.17
    assert 0.4 < np.mean(p_wrong) < 0.65


def test_curves_go_piece_by_piece_and_chance_takes_the_mean_of_all_orders() -> None:
    found = attributions._faithfulness(linear(np.array([1.0, 3.0])), np.array([1.0, 3.0]), False)
    assert found.deletion.share == pytest.approx([0, 0.5, 1])
    assert found.deletion.values == pytest.approx([6, 3, 2])
    assert found.deletion.area == pytest.approx((6 + 3) / 2 * 0.5 + (3 + 2) / 2 * 0.5)
    best = (found.chance == pytest.approx(found.gap)) if found.chance.std() == 0 else found.chance > 0
    assert found.chance_deletion.values == pytest.approx([6, 3 * best.mean() + 5 * (1 - best.mean()), 2])
    assert found.chance_insertion.area - found.chance_deletion.area == pytest.approx(found.chance.mean())


def test_nothing_matters_to_a_constant_target() -> None:
    found = attributions._faithfulness(linear(np.zeros(5)), np.arange(5.0), True)
    assert found.gap == 0
    assert found.p == 1
    assert math.isnan(found.unexplained)


def test_clusters_fare_as_their_channels_do_together(googlenet: Model, chelsea: Picture, labels: np.ndarray, given: dict) -> None:
    inputs = googlenet.input(chelsea)
    ticks = []
    ablation = given["ablation by cluster"]
    found = attributions.faithfulness(googlenet, inputs, TARGET, BLOCK, ablation, labels, lambda: ticks.append(1))
    first = max([*ablation.by_cluster(labels), ablation.channels[labels < 0].sum()])
    assert found.deletion.values[0] - found.deletion.values[1] == pytest.approx(first, abs=1e-4)
    assert found.deletion.share == pytest.approx(np.arange(6) / 5)  # piece by piece: the constant channels are one, each cluster another
    assert len(ticks) <= attributions.FAITHFULNESS_EVALUATIONS


def test_a_map_fares_by_places_of_a_raster(googlenet: Model, chelsea: Picture) -> None:
    """The first step of deletion is a pass without the places that the map ranks first."""
    inputs = googlenet.input(chelsea)
    given = attributions.attribute_pixels(googlenet, inputs, TARGET, "occlusion")
    ticks = []
    found = attributions.pixel_faithfulness(googlenet, inputs, TARGET, given, lambda: ticks.append(1))
    assert 0 < len(ticks) <= attributions.FAITHFULNESS_EVALUATIONS
    edges = [[i for i in range(64) if i * 14 // 64 == place] for place in range(14)]
    scores = np.array([given[np.ix_(rows, columns)].sum() for rows in edges for columns in edges])
    blank = inputs.clone()
    for place in np.argsort(-scores, kind="stable")[:20]:  # 196 places, ten cuts: 19.6 a cut
        for row, column in itertools.product(edges[place // 14], edges[place % 14]):
            blank[:, :, row, column] = 0
    with torch.no_grad():
        assert found.deletion.values[:2] == pytest.approx([float(googlenet.network(x)[0, 7]) for x in (inputs, blank)], abs=1e-4)
        assert found.insertion.values[[0, -1]] == pytest.approx(
            [float(googlenet.network(x)[0, 7]) for x in (torch.zeros_like(inputs), inputs)], abs=1e-4
        )
    assert found.infidelity <= found.silence


def test_faithfulness_can_be_stopped(googlenet: Model, chelsea: Picture, given: dict) -> None:
    def stop() -> None:
        raise Cancelled()

    with pytest.raises(Cancelled):
        attributions.faithfulness(googlenet, googlenet.input(chelsea), TARGET, BLOCK, given["grad-cam"], tick=stop)
    with pytest.raises(UnknownChoice):
        attributions.faithfulness(googlenet, googlenet.input(chelsea), TARGET, "9z", given["grad-cam"])


def test_sensitivity_is_the_largest_relative_change(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea)
    seen: list[torch.Tensor] = []

    def explain(picture: torch.Tensor) -> np.ndarray:
        seen.append(picture)
        return attributions.attribute(googlenet, picture, TARGET, BLOCK, "grad-cam").channels

    found = attributions.sensitivity(explain, inputs)
    at_rest, *nudged = (attributions.attribute(googlenet, x, TARGET, BLOCK, "grad-cam").channels for x in seen)
    assert all(0 < float((x - inputs).abs().max()) <= attributions.RADIUS for x in seen[1:])
    assert len(nudged) == attributions.NUDGES
    expected = max(np.linalg.norm(changed - at_rest) for changed in nudged) / np.linalg.norm(at_rest)
    assert found == pytest.approx(expected, rel=1e-4)
    assert attributions.sensitivity(lambda picture: np.ones(3), inputs) == 0
    assert hooks(googlenet.network) == 0
