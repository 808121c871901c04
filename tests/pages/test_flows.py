"""The page of flows: a cluster tells what it is made of, and two pictures and two classes their difference."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz.text import LANGUAGES, Text
from pages.shell import graph
from tests.pages.conftest import Visit, told
from tests.pages.test_every_page import figures


def click(at: AppTest, node: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """What the component says when a node is clicked: AppTest has no components."""
    monkeypatch.setattr(graph, "selected", lambda key=graph.KEY: node)
    at.run()
    assert not at.exception
    return at


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cluster_tells_what_it_is_made_of(visit: Visit, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    text = Text(language)
    at = click(visit("pages/flows.py", language), "5b/1", monkeypatch)
    rows = at.dataframe[0].value
    values = [float(v) for v in rows[text("Value")]]
    assert values[-1] == pytest.approx(sum(values[:-1]), rel=1e-2)
    assert float(re.findall(r"[+-][\d.e+]+", at.main.caption[-1].value)[0]) == pytest.approx(values[-1], rel=1e-3)
    assert len(figures(at)) == 1
    assert at.error == []


def test_the_logit_tells_its_clusters_and_the_first_block_nothing(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    at = click(visit("pages/flows.py"), "logit", monkeypatch)
    assert "Logit of espresso" in told(at)
    assert len(at.dataframe) == 1
    at = click(at, "4e/1", monkeypatch)
    assert "first block on show" in told(at)
    assert len(at.dataframe) == 0


def test_another_picture_is_taken_off(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    at = click(visit("pages/flows.py"), "5b/1", monkeypatch)
    before = at.dataframe[0].value["Value"].tolist()
    next(box for box in at.selectbox if box.label == "Minus another picture").select_index(1).run()
    assert not at.exception
    assert at.dataframe[0].value["Value"].tolist() != before
    assert "adjusted p" not in at.dataframe[0].value
    assert "has no p" in told(at)
    assert len(figures(at)) == 2


def test_two_classes_are_the_difference(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    at = click(visit("pages/flows.py"), "logit", monkeypatch)
    next(box for box in at.selectbox if box.label == "Set against").select_index(1).run()
    assert not at.exception
    assert re.search(r"Logit of espresso minus \w+", told(at))


def test_any_blocks_can_be_shown_and_either_measure(visit: Visit) -> None:
    at = visit("pages/flows.py")
    at.multiselect[0].set_value(["3a", "4d"]).run()
    next(box for box in at.selectbox if box.label == "What lines show").select_index(1).run()
    assert not at.exception
    assert re.search(r"\d+ of \d+ lines are beyond chance", told(at))
    at.multiselect[0].set_value([]).run()
    assert not at.exception


def test_it_works_for_inception_v3_too(visit: Visit) -> None:
    at = visit("pages/flows.py")
    chosen = at.session_state["session"]
    chosen.architecture, chosen.weights = "inception_v3", "random"
    at.run()
    assert not at.exception
    assert at.error == []
    assert at.multiselect[0].value == ["7a", "7b", "7c"]
