"""Attributions are Captum's, add up where they promise to, and leave nothing on the network."""

import captum.attr
import numpy as np
import pytest
import torch

from inception_viz import attributions
from inception_viz.activations import Target, capture
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
