"""Training the boxed network: honest, repeatable, and the same after a kill."""

from collections import Counter

import numpy as np
import pytest
import torch
import train_boxed

RECIPE = {
    "seed": 3, "classes": 4, "held_out_per_class": 2, "batch": 8, "parts": 2, "sizes": [32, 32], "peak_learning_rate": 0.1, "warm_up_epochs": 0.5,
    "momentum": 0.9, "weight_decay": 1e-4, "label_smoothing": 0.1, "crop_area": [0.35, 1.0], "crop_ratio": [0.75, 1.3333],
}  # fmt: skip
PICTURES = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
LABELS = np.arange(8) % 4


def stepped(trainer: train_boxed.Trainer, steps: range) -> None:
    for step in steps:
        trainer.step(PICTURES, LABELS, 0, step, step / 4)


def test_a_resumed_run_takes_the_steps_of_an_unbroken_one() -> None:
    cpu = torch.device("cpu")
    unbroken, first, second = (train_boxed.Trainer(RECIPE, cpu) for _ in range(3))
    stepped(unbroken, range(4))
    stepped(first, range(2))
    second.restore(first.state())
    stepped(second, range(2, 4))
    for a, b in zip(unbroken.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_is_held_out_is_trained_on_by_nobody() -> None:
    labels = np.repeat(np.arange(4), 10)
    kept, held = train_boxed.hold_out(labels, RECIPE)
    assert set(kept) & set(held) == set()
    assert len(kept) + len(held) == 40
    assert Counter(labels[held].tolist()) == dict.fromkeys(range(4), 2)


def test_crops_lie_inside_the_picture_and_half_are_mirrored() -> None:
    ramp = torch.linspace(0, 1, 64).expand(400, 3, 64, 64).contiguous()
    crops = train_boxed.random_crops(ramp, 32, RECIPE, torch.Generator().manual_seed(0))
    assert crops.shape == (400, 3, 32, 32)
    assert float(crops.min()) >= 0
    assert float(crops.max()) <= 1
    mirrored = (crops[:, 0, 0, 0] > crops[:, 0, 0, -1]).float().mean()
    assert 0.4 < float(mirrored) < 0.6


@pytest.mark.parametrize(("progress", "expected"), [(0, 0), (0.5, 0.1), (2, 0)])
def test_the_learning_rate_rises_and_falls(progress: float, expected: float) -> None:
    assert train_boxed.learning_rate(progress, RECIPE) == pytest.approx(expected, abs=1e-9)
