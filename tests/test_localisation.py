"""Maps of a class: exact, equal to what others compute, and to each other where they must be."""

import captum.attr
import numpy as np
import pytest
import torch

from inception_viz import grids, localisation, models
from inception_viz.activations import Target, capture
from inception_viz.analysis import analyze
from inception_viz.architecture import describe
from inception_viz.attributions import untouched
from inception_viz.clusters import find
from inception_viz.images import Picture
from inception_viz.models import Model, Preprocessing
from tests.conftest import looking_at

TARGETS = [Target(3), Target(7, 2)]


@pytest.fixture(scope="module", params=["googlenet", "constructed"])
def model(request: pytest.FixtureRequest) -> Model:
    """Random weights; biases too, or none would be missed."""
    loaded = models.load(request.param, "random", "cpu")
    torch.nn.init.normal_(loaded.network.get_submodule("fc").bias, generator=torch.Generator().manual_seed(0))
    return loaded if request.param == "constructed" else looking_at(loaded, 64)


@pytest.mark.parametrize("target", TARGETS)
def test_the_mean_of_a_class_activation_map_and_the_bias_are_the_logit(model: Model, chelsea: Picture, target: Target) -> None:
    taken = capture(model, model.input(chelsea), target)
    last = describe(model).blocks[-1].name
    head = localisation.head(model)
    found = localisation.class_map(taken.activations[last][0].numpy(), head, target)
    logit = float(target.of(taken.logits[0]))
    assert found.mean() + target.of(torch.from_numpy(head.bias)).item() == pytest.approx(logit, rel=1e-5, abs=1e-5)


def test_it_is_exact_for_inception_v3_too(inception_v3: Model, chelsea: Picture) -> None:
    taken = capture(inception_v3, inception_v3.input(chelsea), Target(3), gradients=False)
    activation, head = taken.activations["7c"][0].numpy(), localisation.head(inception_v3)
    found = localisation.class_map(activation, head, Target(3))
    size = float(np.tensordot(np.abs(head.weight[3]), activation, 1).max())  # of what cancels: untrained weights give next to nothing
    assert found.mean() == pytest.approx(float(taken.logits[0, 3]), abs=1e-5 * size)
    assert found.mean() != pytest.approx(float(taken.logits[0, 4]), abs=1e-5 * size)


@pytest.mark.parametrize("target", TARGETS)
def test_grad_cam_is_that_of_captum_at_every_block_and_the_class_map_at_the_last(model: Model, chelsea: Picture, target: Target) -> None:
    inputs = model.input(chelsea)
    taken, blocks = capture(model, inputs, target), describe(model).blocks
    for block in (blocks[0], blocks[len(blocks) // 2], blocks[-1]):
        activation, gradient = taken.activations[block.name][0].numpy(), taken.gradients[block.name][0].numpy()
        found = localisation.grad_map(activation, gradient)
        with untouched(model.network):
            layer = model.network.get_submodule(block.module)
            method = captum.attr.LayerGradCam(lambda x: target.of(model.network(x)), layer)
            theirs = method.attribute(inputs.clone())[0, 0].detach().numpy()
        np.testing.assert_allclose(found, theirs, rtol=1e-3, atol=1e-5 * np.abs(theirs).max())
    exact = localisation.class_map(activation, localisation.head(model), target)
    np.testing.assert_allclose(found * found.size, exact, rtol=1e-3, atol=1e-5 * np.abs(exact).max())


def test_the_best_cluster_is_the_one_that_the_attributions_call_best(googlenet: Model, chelsea: Picture) -> None:
    found = analyze(googlenet, chelsea, Target(5))
    for name in ("4c", "5b"):
        block = found.blocks[name]
        clusters = find(block.correlation)
        best = localisation.best_cluster(block.activation, block.gradient, clusters.labels)
        given = block.attribution.by_cluster(clusters.labels)
        assert best == int(np.argmax(given))
        where = localisation.given_map(block.activation, block.gradient, clusters.members(best))
        assert where.sum() == pytest.approx(given[best], rel=1e-4)


def test_channels_that_never_change_make_no_cluster_and_no_map() -> None:
    nothing = np.zeros((3, 2, 2), np.float32)
    assert localisation.best_cluster(nothing, nothing, np.full(3, -1)) is None
    assert not localisation.given_map(nothing, nothing, np.array([], int)).any()


def test_a_bright_square_is_found_where_it_is() -> None:
    """A map of 8 x 8 cells over the middle square of a wide picture."""
    values = np.zeros((8, 8), np.float32)
    values[2:4, 4:8] = 1
    values[7, 0] = 0.9  # another part, smaller
    found = localisation.place(values, grids.tiles(8, 64), 0.5, Preprocessing(80, 64), 200, 100)
    assert found.box is not None
    # the square that is seen is 80 pixels a side, from (60, 10): a cell has 10
    np.testing.assert_allclose([found.box.left, found.box.top, found.box.right, found.box.bottom], [100, 30, 140, 50], atol=1.3)
    assert found.point == (105, 35)


def test_a_lower_threshold_never_has_a_smaller_part_round_the_summit() -> None:
    values = np.exp(-((np.arange(8) - 3) ** 2) / 8)[:, None] * np.exp(-((np.arange(8) - 5) ** 2) / 8)
    areas = [localisation.place(values, grids.tiles(8, 64), t, Preprocessing(64, 64), 64, 64).box.area for t in np.linspace(0.05, 0.95, 10)]  # type: ignore[union-attr]
    assert areas == sorted(areas, reverse=True)
