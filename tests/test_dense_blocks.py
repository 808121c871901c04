"""Blocked products are exact, planted blocks are found, and nothing is found where there is nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from inception_viz import dense_blocks
from inception_viz.dense_blocks import METHODS, Partition
from inception_viz.measurement import OutOfRange
from inception_viz.sparsity import Shape
from tests.test_sparsity import driven

CPU = torch.device("cpu")
SHAPE = Shape(64, 96, 5)
NAMES = list(METHODS)


def random_matrix(seed: int, density: float = 0.1, shape: tuple[int, int] = (23, 37)) -> sparse.csr_array:
    generator = np.random.default_rng(seed)
    return sparse.csr_array(np.where(generator.random(shape) < density, generator.normal(size=shape), 0).astype(np.float32))


def naive(matrix: sparse.csr_array, partition: Partition) -> tuple[float, int]:
    """Share inside and area, place by place."""
    within = [(i, j) for i, r in enumerate(partition.rows) for j, c in enumerate(partition.columns) if r == c and r >= 0]
    full = matrix.toarray()
    return sum(full[i, j] != 0 for i, j in within) / matrix.nnz, len(within)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_a_blocked_product_is_exact_whatever_the_partition(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = random_matrix(seed, 0.3)
    partition = Partition(generator.integers(-1, count, 23), generator.integers(-1, count, 37))
    inputs = generator.normal(size=(37, 4)).astype(np.float32)
    got = dense_blocks.blocked(matrix, partition, CPU).multiply(torch.from_numpy(inputs)).numpy()
    assert np.abs(got - matrix.toarray().astype(np.float64) @ inputs).max() < 1e-5
    share, area = naive(matrix, partition)
    assert dense_blocks.inside(matrix, partition) == pytest.approx(share)
    assert partition.area() == area


def test_nothing_is_stored_twice() -> None:
    matrix, truth = dense_blocks.planted(SHAPE, 4, 0.1, 0.25)
    ready = dense_blocks.blocked(matrix, truth, CPU)
    held = sum(int((values != 0).sum()) for _, _, values in ready.blocks)
    assert ready.rest is not None
    assert held + ready.rest.values().numel() == matrix.nnz
    assert held == round(0.75 * matrix.nnz)
    bytes_ = sum(4 * values.numel() for _, _, values in ready.blocks) + 8 * ready.rest.values().numel() + 4 * 65
    assert dense_blocks.storage(matrix, truth) == pytest.approx(bytes_ / (8 * matrix.nnz + 4 * 65))


@pytest.mark.parametrize("name", NAMES)
def test_every_method_finds_planted_blocks(name: str) -> None:
    if name not in dense_blocks.methods():
        pytest.skip("the package is not here")
    matrix, truth = dense_blocks.planted(SHAPE, 4, 0.2, 0.0)
    found = METHODS[name](matrix, 4, lambda: None)
    assert dense_blocks.adjusted_rand_score(truth.rows, found.rows) == 1
    assert dense_blocks.inside(matrix, found) == 1
    assert found.area() == truth.area()


@pytest.mark.parametrize("name", NAMES)
def test_every_method_bears_empty_rows_and_columns(name: str) -> None:
    if name not in dense_blocks.methods():
        pytest.skip("the package is not here")
    matrix = random_matrix(1, 0.2)
    full = matrix.toarray()
    full[3], full[:, 5] = 0, 0
    matrix = sparse.csr_array(full)
    found = METHODS[name](matrix, 3, lambda: None)
    assert (found.rows.shape, found.columns.shape) == ((23,), (37,))
    inputs = torch.ones(37, 2)
    assert torch.allclose(dense_blocks.blocked(matrix, found, CPU).multiply(inputs), torch.from_numpy(full) @ inputs, atol=1e-5)


def test_shuffled_keeps_what_is_in_rows_and_columns() -> None:
    matrix = random_matrix(2, 0.2)
    other = dense_blocks.shuffled(matrix, 0)
    before, after = matrix.toarray() != 0, other.toarray() != 0
    assert (before.sum(0) == after.sum(0)).all()
    assert (before.sum(1) == after.sum(1)).all()
    assert (before != after).mean() > 0.1
    assert sorted(other.data) == sorted(matrix.data)


@pytest.mark.parametrize(("kind", "supported"), [(dense_blocks.PLANTED, True), (dense_blocks.RANDOM, False)])
def test_structure_is_told_from_chance(kind: str, supported: bool) -> None:
    matrix, truth = dense_blocks.matrix_of(kind, SHAPE, 0.1, 4, 0.1)
    found, shares = driven(dense_blocks.measure(kind, matrix, 5, 4, CPU, truth, rounds=2))
    assert shares[-1] == 1
    assert sorted(shares) == shares
    outcome = dense_blocks.answered(found)
    assert outcome.findings[1].supported is supported
    assert (found.p <= 0.05) is supported
    assert len(found.null) == dense_blocks.DRAWS
    assert {g.method for g in found.found} == {dense_blocks.GIVEN, *dense_blocks.methods()} | ({dense_blocks.ANSWER} if truth else set())
    assert found.best.over_csr.median == max(g.over_csr.median for g in found.found if g.method in METHODS)
    assert len(outcome.rows) == len(found.found) + 2 + len(found.null)
    assert all({"device", "threads", "precision", "density"} <= row.keys() for row in outcome.rows)


def test_without_the_package_the_other_methods_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_blocks.importlib.util, "find_spec", lambda name: None)
    assert list(dense_blocks.methods().values()) == [find for find in METHODS.values() if find is not dense_blocks.hypergraph]


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(dense_blocks.TooFull):
        dense_blocks.planted(SHAPE, 16, 0.2, 0.0)
    for shape, density, blocks in ((SHAPE, 0.5, 4), (SHAPE, 0.1, 1), (SHAPE, 0.1, 1000), (Shape(8000, 900, 1), 0.2, 4)):
        with pytest.raises(OutOfRange):
            dense_blocks.matrix_of(dense_blocks.RANDOM, shape, density, blocks)
