"""Sparse products equal dense ones, densities are what was asked for, and break-even is where it must be."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inception_viz import races, sparsity
from inception_viz.errors import UnknownChoice
from inception_viz.measurement import OutOfRange, TooLarge
from inception_viz.models import Model
from inception_viz.sparsity import FORMATS, Shape

CPU = torch.device("cpu")
SMALL = Shape(48, 80, 7)


def driven(generator):
    shares = []
    while True:
        try:
            shares.append(next(generator))
        except StopIteration as end:
            return end.value, shares


def run(name: str, shape: Shape, density: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, sparsity.Product]:
    """The whole matrix, its input, and the product as a format computes it."""
    form, generator = FORMATS[name], np.random.default_rng(seed)
    weights = form.draw(shape, density, generator)
    whole = sparsity.whole(weights) if weights.ndim == 3 else weights
    inputs = generator.standard_normal((whole.shape[1], shape.positions), np.float32)
    return whole, inputs, form.prepare(weights, inputs, CPU)


@pytest.mark.parametrize("density", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_dense_product(name: str, density: float) -> None:
    whole, inputs, product = run(name, SMALL, density)
    got = np.asarray(product.run()).reshape(-1, SMALL.positions)
    wanted = whole.astype(np.float64) @ inputs
    assert np.abs(got - wanted).max() < 1e-5
    assert product.nonzeros == np.count_nonzero(whole)
    assert product.stored >= product.nonzeros
    assert product.size == whole.size


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.001, 1), st.integers(0, 5))
def test_scattered_and_pruned_have_the_density_asked_for(outputs: int, inputs: int, density: float, seed: int) -> None:
    wanted = max(1, round(density * outputs * inputs))
    generator = np.random.default_rng(seed)
    assert np.count_nonzero(sparsity.scattered(Shape(outputs, inputs, 1), density, generator)) == wanted
    weights = generator.standard_normal((outputs, inputs)).astype(np.float32)
    kept = sparsity.pruned(weights, density)
    assert np.count_nonzero(kept) == wanted
    assert np.abs(kept[kept != 0]).min() >= np.abs(weights[kept == 0]).max(initial=0)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.001, 1))
def test_groups_are_equal_and_hold_all_outputs_and_inputs(outputs: int, inputs: int, density: float) -> None:
    groups, rows, columns = sparsity.grouped(Shape(outputs, inputs, 1), density, np.random.default_rng(0)).shape
    assert outputs <= groups * rows < outputs + rows
    assert inputs <= groups * columns < inputs + groups
    assert np.count_nonzero(sparsity.whole(np.ones((groups, rows, columns)))) == groups * rows * columns


def test_tiles_are_full_or_empty() -> None:
    weights = sparsity.tiled(Shape(64, 96, 1), 0.25, np.random.default_rng(0))
    tiles = (weights.reshape(4, 16, 6, 16) != 0).mean((1, 3))
    assert set(tiles.ravel()) == {0.0, 1.0}
    assert tiles.sum() == 6


@given(st.floats(0.3, 3), st.floats(0.01, 0.5))
def test_a_power_law_breaks_even_where_it_crosses_one(power: float, where: float) -> None:
    densities = np.geomspace(0.001, 1, 9)
    assert sparsity.crossing(list(densities), list((densities / where) ** -power)) == pytest.approx(where, rel=1e-6)


def test_no_crossing_is_told_apart() -> None:
    assert sparsity.crossing([0.01, 0.1], [0.9, 0.5]) == 0
    assert sparsity.crossing([0.01, 0.1], [9, 5]) == math.inf
    assert sparsity.crossing([0.1, 0.01, 0.5], [2, 0.5, 3]) == 0  # noise at the dense end is no break-even


def test_a_measurement_tells_all_its_numbers() -> None:
    points, shares = driven(sparsity.measure(SMALL, CPU, (0.5, 0.01), rounds=3))
    assert shares == [0.5, 1]
    assert {p.format for p in points} == set(FORMATS)
    assert all(
        p.timing.low <= p.timing.median <= p.timing.high and p.timing.repeats == 3 and p.timing.conditions.threads == 1 for p in points
    )
    outcome = sparsity.answered(points)
    assert len(outcome.findings) == 2
    assert len(outcome.rows) == 3 * len(FORMATS)
    assert all({"device", "threads", "precision", "outputs"} <= row.keys() for row in outcome.rows)
    bsr = next(p for p in points if p.format == sparsity.SCATTERED_BSR and p.asked == 0.5)
    assert bsr.stored == 1  # every tile holds a non-zero


def made(name: str, speedup: float, density: float = 0.01) -> sparsity.Point:
    where = races.conditions(CPU)
    one = races.Timing(1 / speedup, 1 / speedup, 1 / speedup, 9, where)
    full = races.Timing(1, 1, 1, 9, where)
    return sparsity.Point(name, SMALL, density, density, density, one, full, races.Ratio(speedup, speedup * 0.9, speedup * 1.1))


@pytest.mark.parametrize(("speedup", "verdict"), [(0.5, True), (1.0, None), (14.0, False)])
def test_the_papers_sentence_stands_or_falls_with_the_measured_time(speedup: float, verdict: bool | None) -> None:
    (found,) = sparsity.answered([made(sparsity.TORCH_CSR, speedup)]).findings
    assert found.claim == sparsity.NOT_PAID
    assert found.supported is verdict


@pytest.mark.parametrize(("groups", "verdict"), [(40.0, True), (14.0, None), (2.0, False)])
def test_dense_parts_are_compared_with_the_faster_csr(groups: float, verdict: bool | None) -> None:
    points = [made(sparsity.SCIPY_CSR, 5), made(sparsity.TORCH_CSR, 14), made(sparsity.GROUPS, groups)]
    assert sparsity.answered(points).findings[1].supported is verdict


def test_bad_sizes_are_refused_before_memory_is_taken() -> None:
    for shape, error in ((Shape(0, 1, 1), OutOfRange), (Shape(1, 10**9, 1), OutOfRange), (Shape(8000, 8000, 10), TooLarge)):
        with pytest.raises(error):
            next(sparsity.measure(shape, CPU))
    with pytest.raises(OutOfRange):
        next(sparsity.measure(SMALL, CPU, (0.0,)))


def test_layers_of_the_network_are_products(googlenet: Model) -> None:
    found = sparsity.layers(googlenet)
    assert found["4e 3x3"] == Shape(320, 9 * 160, 16)
    assert sparsity.layer_weights(googlenet, "4e 3x3").shape == (320, 1440)
    with pytest.raises(UnknownChoice):
        sparsity.layer_weights(googlenet, "9z")


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = [low <= 0 <= high for low, high in (races.interval(list(generator.standard_cauchy(15))) for _ in range(1000))]
    assert np.mean(held) == pytest.approx(0.965, abs=0.02)  # 1 - 2 P(at most 3 of 15 heads)


def test_a_race_takes_turns_on_one_thread_and_leaves_the_threads_as_they_were() -> None:
    order, threads, before = [], set(), torch.get_num_threads()

    def run(name: str) -> None:
        order.append(name)
        threads.add(torch.get_num_threads())

    torch.set_num_threads(2)
    try:
        race = races.raced({name: partial(run, name) for name in "ab"}, CPU, rounds=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert "".join(order) == "ababab"
    assert threads == {1}
    assert len(race.seconds["a"]) == 2
