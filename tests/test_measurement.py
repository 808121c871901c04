"""Measurements say how they were taken; their tables are no formulas; sizes are refused before memory is."""

import csv
import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from inception_viz import measurement
from inception_viz.measurement import Conditions, Finding, Timing
from inception_viz.text import Text, message
from tests.test_sparsity import driven


def test_a_time_is_the_median_between_its_ends() -> None:
    calls: list[int] = []
    (found, other), shares = driven(
        measurement.by_turns([lambda: calls.append(1), lambda: calls.append(2)], torch.device("cpu"), repeats=4)
    )
    assert calls == [1, 2] * 5  # by turns; the first round is not counted
    assert shares == pytest.approx([n / 10 for n in range(1, 11)])
    assert other.repeats == 4
    assert 0 <= found.low <= found.median <= found.high
    assert found.repeats == 4
    assert found.conditions.threads == torch.get_num_threads()
    assert found.conditions.device.startswith("cpu")
    assert found.conditions.precision == "float32"


def test_other_precisions_are_named() -> None:
    assert measurement.conditions(torch.device("cpu"), torch.bfloat16).precision == "bfloat16"


def test_a_time_far_above_the_fastest_is_not_steady() -> None:
    where = Conditions("cpu", 1, "float32")
    assert Timing(1.2, 1.0, 9.0, 5, where).steady
    assert not Timing(3.0, 1.0, 3.1, 5, where).steady


def test_sizes_are_refused_by_what_they_would_take() -> None:
    measurement.allow(measurement.MEMORY_LIMIT)
    with pytest.raises(measurement.TooLarge) as caught:
        measurement.allow(2 * measurement.MEMORY_LIMIT)
    assert caught.value.facts == {"found": 1280, "allowed": 640}


@pytest.mark.parametrize("value", [0, 11, math.nan])
def test_numbers_are_refused_out_of_their_range(value: float) -> None:
    measurement.within("The width", 10, 1, 10)
    with pytest.raises(measurement.OutOfRange) as caught:
        measurement.within("The width", value, 1, 10)
    assert "العرض" in caught.value.told(Text("ar"))
    assert "1" in str(caught.value)


@given(some.lists(some.fixed_dictionaries({"name": some.text(), "x": some.floats(allow_nan=False) | some.integers()}), min_size=1))
def test_no_word_in_a_table_is_a_formula_and_no_number_changes(rows: list[dict]) -> None:
    read = list(csv.DictReader(io.StringIO(measurement.as_csv(rows), newline="")))
    assert len(read) == len(rows)
    for was, now in zip(rows, read, strict=True):
        assert float(now["x"]) == float(was["x"])
        assert not now["name"].lstrip().startswith(("=", "+", "-", "@"))
        assert now["name"].removeprefix("'") == was["name"].removeprefix("'")


def test_rows_that_lack_a_column_leave_it_empty() -> None:
    assert measurement.as_csv([{"a": 1}, {"b": None, "a": 2}]) == "a,b\r\n1,\r\n2,\r\n"


def test_a_finding_is_told_in_both_languages() -> None:
    found = Finding(message("claim"), "MACs grow with power {macs}, measured time with power {seconds} (over the larger half of the sizes {late}).",
                    True, {"macs": "2.00", "seconds": "-1.90", "late": "1.95"})  # fmt: skip
    assert "2.00" in found.told(Text("en"))
    assert "\u2066-1.90\u2069" in found.told(Text("ar"))  # a number keeps its sign before it
