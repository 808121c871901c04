"""What several tests share: a small GoogLeNet and a picture."""

import dataclasses

import pytest

from inception_viz import images, models
from inception_viz.models import Model


def looking_at(model: Model, side: int) -> Model:
    """The same model, seeing pictures of `side` x `side` pixels."""
    return dataclasses.replace(model, weights=dataclasses.replace(model.weights, preprocessing=models.Preprocessing(side, side)))


@pytest.fixture(scope="session")
def googlenet() -> Model:
    """GoogLeNet with random weights, looking at 64 pixels a side."""
    return looking_at(models.load("googlenet", "random", "cpu"), 64)


@pytest.fixture(scope="session")
def inception_v3() -> Model:
    """Inception v3 with random weights, looking at 96 pixels a side."""
    return looking_at(models.load("inception_v3", "random", "cpu"), 96)


@pytest.fixture(scope="session")
def chelsea() -> images.Picture:
    """A photograph of a cat."""
    return images.decode(images.samples()["chelsea"].read(), "chelsea.png")
