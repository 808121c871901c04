"""The pages of sparse products, connection tables and coincidence: every control leads to a measurement, and bad ones to a sentence."""

import csv
import io
import json

import pytest
import torch
from streamlit.testing.v1 import AppTest

from inception_viz import coincidence, connections, dense_blocks, measurement, nulls, sparsity
from inception_viz.figures import coincidence as coincidence_drawing
from inception_viz.figures import connections as connections_drawing
from inception_viz.figures import dense_blocks as blocks_drawing
from inception_viz.figures import sparsity as drawing
from inception_viz.text import LANGUAGES, Text
from tests.pages.conftest import Visit, told
from tests.test_coincidence import of_gap
from tests.test_sparsity import made

BOTH = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few densities, small matrices and few rounds: what is tested is the way from the control to the figure."""
    monkeypatch.setattr(sparsity.measure, "__defaults__", ((0.5, 0.01), None, 2))
    monkeypatch.setattr(dense_blocks, "SIZES", {name: sparsity.Shape(48, 96, 4) for name in dense_blocks.SIZES})
    monkeypatch.setattr(dense_blocks.measure, "__defaults__", (None, dense_blocks.no_tick, 2, 2))
    monkeypatch.setattr(connections.measure, "__defaults__", (2,))
    monkeypatch.setattr(nulls, "DRAWS", 2)


def choose(at: AppTest, label: str, value: object) -> None:
    next(box for box in at.selectbox if box.label == label).select(value).run()
    assert not at.exception


def figures(at: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


@BOTH
def test_a_product_of_ones_own_sizes_is_measured(visit: Visit, language: str) -> None:
    text = Text(language)
    at = visit("pages/sparsity.py", language)
    choose(at, text("The product"), "own")
    at.slider[0].set_value(32).run()
    at.slider[1].set_value(64).run()
    assert not at.exception
    assert text(sparsity.NOT_PAID) in told(at)
    assert text("Break-even density") in told(at)


@BOTH
@pytest.mark.parametrize("kind", [dense_blocks.PLANTED, dense_blocks.RANDOM])
def test_a_matrix_is_gathered_and_shown(visit: Visit, language: str, kind: str) -> None:
    text = Text(language)
    at = visit("pages/sparsity.py", language)
    at.session_state["session"].choices["panel sparsity"] = "blocks"
    at.session_state["session"].choices["blocks"] = 4
    at.run()
    choose(at, text("Matrix"), kind)
    assert [e.value for e in at.error] == []
    assert len(figures(at)) == 2
    assert text(dense_blocks.STRUCTURED) in told(at)
    choose(at, text("Order to look at"), dense_blocks.GIVEN)
    assert len(figures(at)[0]["layout"]["shapes"]) == 4


@BOTH
def test_blocks_without_room_are_told_in_words(visit: Visit, language: str) -> None:
    at = visit("pages/sparsity.py", language)
    at.session_state["session"].choices |= {"panel sparsity": "blocks", "blocks": 40, "density": 0.1}
    at.run()
    assert not at.exception
    assert len(at.error) == 1
    assert "Traceback" not in told(at)


@BOTH
def test_tables_too_large_are_told_in_words(visit: Visit, language: str) -> None:
    at = visit("pages/connections.py", language)
    at.slider[0].set_value(32)
    at.slider[1].set_value(56).run()
    assert not at.exception
    assert len(at.error) == 1
    assert len(at.get("plotly_chart")) == 0


@BOTH
def test_groups_that_do_not_divide_are_told(visit: Visit, language: str) -> None:
    text, at = Text(language), visit("pages/connections.py", language)
    words = "Groups: {n} instead of {asked}, the next lower number that divides both {inputs} inputs and {outputs} outputs."
    assert text(words, n=2, asked=3, inputs=96, outputs=256) not in told(at)
    choose(at, text("Groups"), 3)
    assert text(words, n=2, asked=3, inputs=96, outputs=256) in told(at)


def test_measuring_again_gives_other_times(visit: Visit) -> None:
    at = visit("pages/connections.py")
    before = figures(at)[1]["data"][1]["x"]
    next(button for button in at.button if button.label == "Measure again").click().run()
    assert figures(at)[1]["data"][1]["x"] != before
    assert figures(at)[0]["data"][0]["z"] == figures(at)[0]["data"][0]["z"]


@BOTH
def test_every_definition_of_firing_together_is_compared(visit: Visit, language: str) -> None:
    at = visit("pages/coincidence.py", language)
    choose(at, Text(language)("Firing together"), "binary")
    assert Text(language)(coincidence.LEARNT) in told(at)


def test_rows_are_a_table_that_a_spreadsheet_takes_for_no_formula() -> None:
    outcome = sparsity.answered([made(sparsity.TORCH_CSR, 2.0), made(sparsity.GROUPS, 9.0)])
    rows = list(csv.DictReader(io.StringIO(measurement.as_csv(outcome.rows))))
    assert float(rows[0]["speedup"]) == 2.0
    assert rows[0]["threads"].isdigit()
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@BOTH
def test_figures_carry_their_numbers(language: str) -> None:
    text = Text(language)
    points = [made(sparsity.TORCH_CSR, 2.0, 0.1), made(sparsity.TORCH_CSR, 0.5, 0.4)]
    even = sparsity.break_even(points)
    figure = drawing.speedups(points, even, text)
    assert list(figure.data[1].y) == [2.0, 0.5]
    assert list(figure.data[-1].x) == pytest.approx([0.2])
    wired = connections.wirings(connections.Layer(1, 3, 6))
    shown = connections_drawing.tables(wired, text)
    assert [int((trace.z > 0).sum()) for trace in shown.data[:3]] == [60, 60, 96]
    gaps = coincidence_drawing.gaps([of_gap(0.3, [0.1, 0.2], [0.0, 0.1])], text)
    assert list(gaps.data[2].y) == pytest.approx([0.3])
    assert list(gaps.data[1].y) == [0.1, 0.2]


def test_the_picture_of_a_matrix_holds_all_its_non_zeros() -> None:
    matrix, truth = dense_blocks.planted(sparsity.Shape(300, 500, 1), 5, 0.1, 0.2)
    coordinates = matrix.tocoo()
    pattern = torch.stack([torch.from_numpy(coordinates.row), torch.from_numpy(coordinates.col)]).numpy()
    cells = blocks_drawing.cells(pattern, (300, 500), *truth.order())
    assert cells.shape == (144, 144)
    assert cells.max() <= 1
    assert cells.mean() == pytest.approx(0.1, rel=0.05)


def test_commands_measure_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from inception_viz import cli

    monkeypatch.setenv("INCEPTION_VIZ_DEVICE", "cpu")
    for command in (
        ["sparsity", "--shape", "32", "64", "4"],
        ["blocks", "random", "--shape", "48", "96", "4"],
        ["connections", "--times", "1"],
    ):
        assert cli.main(["lab", *command, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert len(answer["findings"]) == 2
        assert all(row.get("threads", 1) in (1, None) for row in answer["rows"])
    assert cli.main(["lab", "connections", "--times", "99"]) == 2
