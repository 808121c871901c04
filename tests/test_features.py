"""Pictures made to excite channels: they do so, also when looked at through capture; seeded, harmless to the model, and refused where there is nothing."""

import hashlib
from collections.abc import Generator

import numpy as np
import pytest
import torch

from inception_viz import errors, features
from inception_viz.activations import answers, capture
from inception_viz.features import Feature
from inception_viz.images import Picture
from inception_viz.models import Model


def climbed(climb: Generator[float, None, Feature]) -> tuple[Feature, list[float]]:
    shares = []
    while True:
        try:
            shares.append(next(climb))
        except StopIteration as end:
            return end.value, shares


@pytest.fixture(scope="module")
def made(googlenet: Model) -> Feature:
    return climbed(features.maximise(googlenet, "3b", [5, 130], steps=12))[0]


def state(model: Model) -> str:
    digest = hashlib.sha256()
    for value in model.network.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def test_the_picture_excites_its_channels_more_than_noise_does(made: Feature, googlenet: Model) -> None:
    assert made.reached > 1.2 * made.begun
    seen = capture(googlenet, googlenet.weights.preprocessing.normalised(made.picture), gradients=False).activations["3b"]
    assert float(seen[0, [5, 130]].mean()) == pytest.approx(made.reached, rel=0.02)  # but for rounding to 256 colours


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(made: Feature, googlenet: Model) -> None:
    again, shares = climbed(features.maximise(googlenet, "3b", [5, 130], steps=12))
    other, _ = climbed(features.maximise(googlenet, "3b", [5, 130], seed=1, steps=12))
    assert np.array_equal(again.picture, made.picture)
    assert not np.array_equal(other.picture, made.picture)
    assert shares == sorted(shares)
    assert len(shares) == len(made.course) == 12
    assert shares[-1] < 1


def test_nothing_of_the_model_or_of_the_global_chance_is_touched(googlenet: Model) -> None:
    before, chance = state(googlenet), torch.get_rng_state()
    climbed(features.maximise(googlenet, "3a", [0], steps=2))
    assert state(googlenet) == before
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(p.grad is None for p in googlenet.network.parameters())
    assert not any(module._forward_hooks for module in googlenet.network.modules())


def test_the_pixels_come_from_a_naive_inverse_transform() -> None:
    side, generator = 8, torch.Generator().manual_seed(3)
    spectrum, decay = torch.randn(1, 3, side, side // 2 + 1, 2, generator=generator), features._decay(8)
    found = features._pixels(spectrum, decay, side)[0].numpy()
    half = torch.view_as_complex(spectrum)[0].numpy() * decay.numpy()
    waves = np.fft.irfft2(half, s=(side, side)) * side
    colours = np.einsum("ohw,oc->chw", waves, np.array(features.OPPONENTS))
    assert np.allclose(found, 1 / (1 + np.exp(-features.CONTRAST * colours)), atol=1e-5)
    assert decay[0, 0] == side
    assert float(decay[3, 2]) == pytest.approx(1 / np.hypot(3 / 8, 2 / 8))


def test_a_transformed_picture_stays_a_picture_of_the_same_size() -> None:
    pixels, generator = torch.rand(1, 3, 64, 64), torch.Generator().manual_seed(0)
    seen = [features._transformed(pixels, generator) for _ in range(20)]
    assert {tuple(s.shape) for s in seen} == {(1, 3, 64, 64)}
    assert len({s.sum().item() for s in seen}) == 20


def test_gradients_reach_the_input_through_answers(googlenet: Model, chelsea: Picture) -> None:
    inputs = googlenet.input(chelsea).requires_grad_()
    found = answers(googlenet, inputs)
    plain = capture(googlenet, googlenet.input(chelsea), gradients=False).activations
    assert all(torch.equal(found[name].detach(), plain[name]) for name in plain)
    (slope,) = torch.autograd.grad(found["3a"].mean(), [inputs])
    assert slope.abs().max() > 0


@pytest.mark.parametrize("channels", [[], [-1], [480], [0, 999]])
def test_channels_that_are_not_there_are_refused(googlenet: Model, channels: list[int]) -> None:
    with pytest.raises(features.NoChannels, match="0 to 479"):
        next(features.maximise(googlenet, "3b", channels))


def test_a_block_that_is_not_there_is_refused(googlenet: Model) -> None:
    with pytest.raises(errors.UnknownChoice):
        next(features.maximise(googlenet, "9z", [0]))
