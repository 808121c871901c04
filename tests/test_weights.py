"""Weights that somebody hands in: honest ones are used, all others refused in words, and nothing in them is run."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import weights
from inception_viz.errors import VisitorError
from inception_viz.text import Text
from tests import hostile_weights
from tests.hostile_weights import SHAPES, Case

EXPECTED = {name: torch.Size(shape) for name, shape in SHAPES.items()}


def used(case: Case) -> weights.State | VisitorError | BaseException:
    try:
        return weights.check(weights.read(case.data, case.file_name), EXPECTED)
    except BaseException as error:  # what escapes is looked at below
        return error


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Case, object]]]:
    """Every case read once, two at a time: each `.pth` starts a process."""
    marker = tmp_path_factory.mktemp("marker") / "ran"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about the odd tensors that are made here
        cases = hostile_weights.cases(marker)
    with ThreadPoolExecutor(2) as threads:
        return marker, {c.name: (c, r) for c, r in zip(cases, threads.map(used, cases), strict=True)}


def test_honest_weights_are_used(results: tuple) -> None:
    _, found = results
    accepted = {name: result for name, (case, result) in found.items() if case.accept}
    assert {name: str(r) for name, r in accepted.items() if isinstance(r, BaseException)} == {}
    for result in accepted.values():
        assert result.keys() == SHAPES.keys()
        assert {t.dtype for t in result.values()} == {torch.float32}
        assert torch.allclose(result["fc.weight"], hostile_weights.state()["fc.weight"], atol=0.01)


def test_all_others_are_refused_in_words(results: tuple) -> None:
    _, found = results
    refused = {name: result for name, (case, result) in found.items() if not case.accept}
    assert len(refused) >= 55
    assert [name for name, r in refused.items() if not isinstance(r, VisitorError)] == []
    for error in refused.values():
        for language in ("en", "ar"):
            told = error.told(Text(language))
            assert 10 < len(told) <= 220
            assert "weights_only" not in told
            assert "Traceback" not in told


def test_nothing_in_a_file_is_run(results: tuple) -> None:
    marker, found = results
    assert len(found) >= 70
    assert not marker.exists()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_mutated_safetensors_escapes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(safetensors.torch.save(hostile_weights.state()))
    for place, value in changes:
        data[place % len(data)] = value
    result = used(Case("mutant", bytes(data), "w.safetensors", False))
    assert isinstance(result, dict | VisitorError)


@pytest.mark.parametrize(("data", "count"), [(b"cat\ndog\n\n", 2), ('["قطة", "كلب"]'.encode(), 2), (b"\xef\xbb\xbfcat", 1)])
def test_class_names_are_lines_or_a_list(data: bytes, count: int) -> None:
    assert len(weights.read_class_names(data, count)) == count
    with pytest.raises(weights.WrongClassNames):
        weights.read_class_names(data, count + 1)


def test_int8_weights_come_back_to_within_half_a_step() -> None:
    state = {"a.weight": torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)), "a.bias": torch.arange(8.0)}
    packed = weights.quantised(state)
    assert packed["a.weight"].dtype is torch.int8
    back = weights.dequantised(packed)
    step = state["a.weight"].flatten(1).abs().amax(1) / 127
    assert ((back["a.weight"] - state["a.weight"]).abs().flatten(1).amax(1) <= step / 2 + 1e-6).all()
    assert torch.equal(back["a.bias"], state["a.bias"])


def test_the_digest_is_of_values_not_of_storage() -> None:
    state = hostile_weights.state()
    turned = {k: v.clone() for k, v in reversed(state.items())}
    assert weights.digest(state) == weights.digest(turned)
    turned["fc.bias"][0] += 1
    assert weights.digest(state) != weights.digest(turned)


def test_the_number_of_classes_is_read_from_the_last_layer() -> None:
    assert weights.classes(hostile_weights.state()) == 5
    with pytest.raises(weights.NotWeights):
        weights.classes({"conv.weight": torch.rand(3)})
