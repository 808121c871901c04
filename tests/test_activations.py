"""One pass without hooks gives what Captum gives layer by layer, to ten threads at once, and leaves nothing on the network."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from inception_viz import activations, models
from inception_viz.activations import Target
from inception_viz.architecture import describe
from inception_viz.images import Picture
from inception_viz.models import Model
from tests.conftest import looking_at


def hooks(network: nn.Module) -> int:
    stores = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, store)) for module in network.modules() for store in stores)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_every_block_is_what_captum_sees(name: str, chelsea: Picture, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    inputs = model.input(chelsea)
    taken = activations.capture(model, inputs)
    target = taken.targets[0].index
    for block in describe(model).blocks:
        layer = model.network.get_submodule(block.module)
        seen = captum.attr.LayerActivation(model.network, layer).attribute(inputs)
        given = captum.attr.LayerGradientXActivation(model.network, layer).attribute(inputs.clone(), target=target)
        assert torch.equal(taken.activations[block.name], seen)
        assert torch.allclose(taken.activations[block.name] * taken.gradients[block.name], given, atol=1e-6)
        assert seen.shape[1:] == (block.channels, block.height, block.width)
    assert torch.equal(taken.logits, model.network(inputs))


def test_ten_threads_get_what_one_gets(googlenet: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 3, 64, 64, generator=generator) for _ in range(10)]
    alone = [activations.capture(googlenet, x) for x in inputs]
    with ThreadPoolExecutor(10) as threads:
        together = list(threads.map(lambda x: activations.capture(googlenet, x), inputs * 3))
    for index, taken in enumerate(together):
        expected = alone[index % 10]
        assert taken.targets == expected.targets
        for name in expected.activations:
            assert torch.allclose(taken.activations[name], expected.activations[name], atol=1e-6)
            assert torch.allclose(taken.gradients[name], expected.gradients[name], atol=1e-6)


def test_no_hook_and_no_gradient_stays(googlenet: Model, chelsea: Picture) -> None:
    activations.capture(googlenet, googlenet.input(chelsea))
    with pytest.raises(RuntimeError):
        activations.capture(googlenet, torch.zeros(1, 4, 64, 64))
    assert hooks(googlenet.network) == 0
    assert all(p.grad is None and not p.requires_grad for p in googlenet.network.parameters())
    assert not googlenet.network.training


def test_a_picture_in_a_batch_gets_its_own_gradient(googlenet: Model) -> None:
    inputs = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    together = activations.capture(googlenet, inputs)
    for index in range(3):
        alone = activations.capture(googlenet, inputs[index : index + 1])
        assert together.targets[index] == alone.targets[0]
        for name in alone.gradients:
            assert torch.allclose(together.gradients[name][index], alone.gradients[name][0], atol=1e-5)


@pytest.fixture
def fresh() -> Model:
    """A network that nobody has looked into yet."""
    return looking_at(models.load("googlenet", "random", "cpu"), 64)


def test_looking_into_a_network_never_puts_it_into_training(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's create_feature_extractor does, for a moment: whoever runs the network then rewrites its statistics for good."""
    modes = []
    for module in fresh.network.modules():
        monkeypatch.setattr(module, "train", lambda mode=True: modes.append(mode))
    before = {name: value.clone() for name, value in fresh.network.state_dict().items()}
    activations.capture(fresh, torch.randn(1, 3, 64, 64))
    assert True not in modes
    assert all(torch.equal(value, before[name]) for name, value in fresh.network.state_dict().items())


def test_ten_threads_may_come_first_at_once(fresh: Model) -> None:
    generator = torch.Generator().manual_seed(3)
    inputs = [torch.randn(1, 3, 64, 64, generator=generator) for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        together = list(threads.map(lambda x: activations.capture(fresh, x), inputs))
    for x, taken in zip(inputs, together, strict=True):
        assert torch.allclose(taken.logits, fresh.network(x), atol=1e-6)


def test_what_is_remembered_of_a_network_goes_with_it() -> None:
    model = looking_at(models.load("googlenet", "random", "cpu"), 64)
    activations.capture(model, torch.randn(1, 3, 64, 64))
    network = weakref.ref(model.network)
    del model
    gc.collect()
    assert network() is None


def test_the_gradient_of_a_difference_is_the_difference_of_gradients(googlenet: Model) -> None:
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    one, other, both = (activations.capture(googlenet, inputs, t) for t in (Target(3), Target(7), Target(3, 7)))
    assert both.targets == (Target(3, 7), Target(3, 7))
    for name in both.gradients:
        assert torch.allclose(both.gradients[name], one.gradients[name] - other.gradients[name], atol=1e-6)
    assert both.gradients["3a"].abs().max() > 1e-4


def test_a_target_is_a_logit_or_a_difference() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0]])
    assert Target(1).of(logits).tolist() == [5.0]
    assert Target(1, 2).of(logits).tolist() == [3.0]


@pytest.mark.parametrize("target", [Target(1000), Target(-1), Target(0, 1000)])
def test_a_class_that_does_not_exist_is_refused(googlenet: Model, chelsea: Picture, target: Target) -> None:
    with pytest.raises(activations.NoSuchClass):
        activations.capture(googlenet, googlenet.input(chelsea), target)


def test_without_gradients_none_are_computed(googlenet: Model, chelsea: Picture) -> None:
    taken = activations.capture(googlenet, googlenet.input(chelsea), gradients=False)
    assert taken.gradients == {}
    assert not taken.logits.requires_grad


@pytest.mark.parametrize("sorting", activations.SORTINGS)
def test_channels_are_sorted_within_their_branch(googlenet: Model, sorting: str) -> None:
    block = describe(googlenet).block("3a")
    activation = np.random.default_rng(0).random((256, 8, 8))
    given = np.random.default_rng(1).normal(size=256)
    order = activations.sorted_channels(activation, given, block, None, sorting)
    assert sorted(order) == list(range(256))
    branch = activations.sorted_channels(activation, given, block, "5x5", sorting)
    assert branch.tolist() == [c for c in order if 192 <= c < 224]
    if sorting == "mean activation":
        assert order[0] == activation.mean((1, 2)).argmax()
