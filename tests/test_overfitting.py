"""Training is what its seed says, its labels are as many and as wrong as asked for, and intervals are Student's."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits

from inception_viz import overfitting
from inception_viz.measurement import OutOfRange
from inception_viz.overfitting import Run, Study


def driven(running):
    shares = []
    while True:
        try:
            shares.append(next(running))
        except StopIteration as end:
            return shares, end.value


def test_the_same_seed_trains_the_same_network_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = (overfitting.train(2, 20, seed, steps=12) for seed in (3, 3, 4))
    assert np.array_equal(one.other_loss, two.other_loss)
    assert not np.array_equal(one.other_loss, other.other_loss)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("labels", [10, 50, 1200])
def test_training_pictures_are_balanced_and_none_is_tested_on(labels: int) -> None:
    (own, told), (others, truth) = overfitting.split(labels, 0.0, 0)
    assert len(own) == len(told) == labels
    assert len(others) == len(truth) == overfitting.HELD_OUT
    counts = np.bincount(told, minlength=10)
    assert labels > 500 or counts.max() - counts.min() <= 1
    digits = load_digits()
    known = {picture.tobytes(): label for picture, label in zip(digits.images.astype(np.float32) / 16, digits.target, strict=True)}
    assert [known[p[0].numpy().tobytes()] for p in own] == told.tolist()
    assert len(known) == len(digits.images)  # no picture is there twice
    assert not {p.numpy().tobytes() for p in own} & {p.numpy().tobytes() for p in others}


def test_as_many_labels_are_wrong_as_asked_for() -> None:
    (_, right), held = overfitting.split(100, 0.0, 1)
    (_, wrong), same = overfitting.split(100, 0.3, 1)
    assert int((right != wrong).sum()) == 30
    assert torch.equal(held[1], same[1])


def test_a_wide_network_learns_few_pictures_by_heart_even_with_wrong_labels() -> None:
    run = overfitting.train(16, 20, 0, noise=0.5, steps=150)
    assert run.own_accuracy[-1] == 1.0
    assert run.other_accuracy[-1] < 0.8
    assert run.gap == pytest.approx(run.own_accuracy[-1] - run.other_accuracy[-1])
    assert run.parameters == 9 * 16 + 16 + 9 * 16 * 32 + 32 + 32 * 16 * 10 + 10


def test_scores_are_those_of_the_definition() -> None:
    run = overfitting.train(1, 20, 0, steps=1)
    layers = overfitting.network(1, torch.Generator().manual_seed(0))
    (own, told), _ = overfitting.split(20, 0.0, 0)
    logits = layers(own).detach().double().numpy()
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert run.own_loss[0] == pytest.approx(-log[np.arange(20), told.numpy()].mean(), rel=1e-5)
    assert run.steps.tolist() == [0, 1]


def test_curves_begin_before_training_and_end_after_it() -> None:
    for steps in (1, 7, 300, 2000):
        points = overfitting.moments_of(steps)
        assert points[0] == 0
        assert points[-1] == steps
        assert len(points) <= overfitting.POINTS


def test_a_study_trains_every_size_with_every_seed() -> None:
    shares, found = driven(overfitting.study([1, 2], [10, 20], seeds=2, steps=2))
    assert len(found.runs) == 8
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert [run.seed for run in found.of(2, 20)] == [0, 1]
    assert found.conditions.precision == "float32"


@pytest.mark.parametrize(
    "sizes",
    [
        ([0], [100], 1, 0.0, 9),
        ([999], [100], 1, 0.0, 9),
        ([1], [5], 1, 0.0, 9),
        ([1], [100], 99, 0.0, 9),
        ([1], [100], 1, 0.9, 9),
        ([1], [100], 1, 0.0, 10**9),
    ],
)
def test_what_would_take_too_long_is_refused_before_any_training(sizes: tuple) -> None:
    with pytest.raises(OutOfRange):
        next(overfitting.study(*sizes))


def test_the_interval_is_students() -> None:
    values = np.random.default_rng(0).normal(size=7)
    mean, low, high = overfitting.interval(values)
    expected = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert mean == pytest.approx(values.mean())
    assert math.isnan(overfitting.interval([1.0])[1])


def run(width: int, labels: int, seed: int, own: float, other: float) -> Run:
    ends = (np.array([0.0, own]), np.array([0.0, other]))
    return Run(width, labels, seed, 100 * width, np.array([0, 1]), *ends, *ends)


def study(runs: list[Run]) -> Study:
    return Study(tuple(runs), 0.0, overfitting.conditions(torch.device("cpu")))


@pytest.mark.parametrize(("change", "supported"), [(0.2, True), (-0.2, False), (0.0, None)])
def test_the_verdict_follows_the_gap_in_pairs(change: float, supported: bool | None) -> None:
    """Seeds differ by far more than widths do: only in pairs is the change seen."""
    noise = [0.0, 0.3, -0.2]
    runs = [
        run(width, 100, s, 1.0, 0.6 + n - (width == 8) * (change + 0.01 * s * (change == 0) * (-1) ** s))
        for width in (1, 8)
        for s, n in enumerate(noise)
    ]
    (finding,) = overfitting.wider(study(runs)).findings
    assert finding.supported is supported
    assert finding.facts["few"] == "100"
    assert finding.facts["many"] == "800"


def test_fewer_labels_are_set_against_most() -> None:
    runs = [run(4, labels, s, 1.0, other + 0.01 * s) for labels, other in ((20, 0.6), (100, 0.8), (500, 0.9)) for s in range(3)]
    outcome = overfitting.fewer(study(runs))
    assert outcome.findings[0].supported
    assert outcome.findings[0].facts["gap"] == "+30.0"
    assert [row.get("seed") for row in outcome.rows] == [0, 1, 2] * 3 + [None] * 3
    assert overfitting.memorised(study(runs[:3])).findings[0].facts["gap"] == "+39.0"


def test_the_table_of_curves_holds_every_point_and_its_spread() -> None:
    runs = [run(4, 20, seed, 1.0, 0.5 + 0.1 * seed) for seed in range(3)]
    rows = overfitting.memorised(study(runs)).rows
    assert [(row["seed"], row["steps"]) for row in rows[:6]] == [(seed, step) for seed in range(3) for step in (0, 1)]
    assert [row["test_accuracy"] for row in rows[:6]] == [float(run.other_accuracy[point]) for run in runs for point in (0, 1)]
    for point, row in enumerate(rows[6:]):
        assert row["seeds"] == 3
        expected = overfitting.interval([run.other_loss[point] for run in runs])
        assert (row["test_loss"], row["test_loss_low"], row["test_loss_high"]) == expected
    assert rows[-1]["gap"] == pytest.approx(0.4)
    assert rows[-1]["gap_low"] < 0.4 < rows[-1]["gap_high"]
