"""The page of comparisons: each kind of sides, each aspect, and no matching of channels that are not the same."""

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz.text import Text
from pages.shell import graph
from tests.pages.conftest import Visit, told
from tests.pages.test_every_page import figures

FIGURES = {"Correlations": 5, "Clusters": 6, "Attributions": 6, "Knock-outs": 3, "Flows": 2}


def compare(at: AppTest, kind: str, aspect: str = "Correlations") -> AppTest:
    at.get_by_key("choose compared en").set_value(kind)
    at.get_by_key("choose aspect en").set_value(aspect)
    at.run()
    assert not at.exception, at.exception[0].message
    assert [e.value for e in at.error] == []
    return at


@pytest.mark.parametrize("aspect", FIGURES)
def test_two_states_of_training_are_shown_in_every_aspect(visit: Visit, aspect: str) -> None:
    at = compare(visit("pages/comparisons.py"), "two states of training", aspect)
    assert len(figures(at)) == FIGURES[aspect]
    assert "boxed-untrained" in told(at)
    assert "not matched" not in told(at)


def test_flows_of_two_classes_stand_beside_each_other_and_their_difference(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "selected", lambda key=graph.KEY: "logit" if key.startswith("compared") else None)
    at = compare(visit("pages/comparisons.py"), "two classes", "Flows")
    names = [f.value.columns[0] for f in at.dataframe]
    assert names == ["From"] * 3
    first, second, less = (frame.value for frame in at.dataframe)
    sums = [float(rows[rows["From"] == "sum"]["Value"].iloc[0]) for rows in (first, second, less)]
    logits = [float(m.value) for m in at.metric if m.label.startswith("Logit of")]
    assert sums[:2] == pytest.approx(logits, abs=0.02)
    assert sums[2] == pytest.approx(sums[0] - sums[1], abs=0.02)
    assert "no p" in told(at)


def test_the_check_of_a_method_stands_beside_both_sides(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two classes", "Attributions")
    at.get_by_key("choose check compared en").set_value(True).run()
    assert not at.exception
    verdicts = [element.value for kind in ("success", "warning") for element in at.get(kind)]
    assert len([v for v in verdicts if "gradient x activation" in v]) == 2
    assert at.dataframe[-1].value["Side"].tolist() == ["A", "B"]
    assert len(figures(at)) == FIGURES["Attributions"] + 2


def test_two_pictures_have_one_network_and_two_answers(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two pictures")
    said = told(at)
    assert "Logit of espresso" in said
    assert "Agreement of r, pair by pair" in said
    assert "Same places alike (CKA)" not in said  # the places are not of one picture


def test_two_classes_are_asked_of_one_picture(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two classes", "Attributions")
    logits = [m.label for m in at.metric if m.label.startswith("Logit of")]
    assert len(set(logits)) == 2
    first = next(m for m in at.metric if m.label == "A minus B, logits")
    assert float(first.value) != 0


def test_two_networks_are_shown_but_not_matched(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two networks", "Correlations")
    said = told(at)
    assert "inception_v3" in said
    assert "different channels" in said
    assert "different classes" in said
    assert "Same places alike (CKA)" in said
    assert "Agreement of r, pair by pair" not in said
    at = compare(at, "two networks", "Attributions")
    assert len(figures(at)) == 8  # each side's bars in figures of their own


def test_one_class_can_be_asked_of_both(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two states of training", "Attributions")
    at.get_by_key("choose compared class en").select_index(1).run()
    assert not at.exception
    assert len({m.label for m in at.metric if m.label.startswith("Logit of")}) == 1


def test_a_side_against_itself_agrees_fully(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "two states of training", "Clusters")
    at.get_by_key("choose compared state 0 en").set_value("boxed").run()
    assert next(m for m in at.metric if m.label == "Adjusted Rand index").value.startswith("1.00")
    at = compare(at, "two states of training", "Attributions")
    bars = [trace for trace in figures(at)[2]["data"] if trace["type"] == "bar"]
    assert bars[0]["x"] == bars[1]["x"]


def test_anything_against_anything(visit: Visit) -> None:
    at = compare(visit("pages/comparisons.py"), "anything", "Clusters")
    labels = [box.label for box in at.selectbox]
    assert labels.count("Picture") == labels.count("Network") == labels.count("Class to explain") == 2


def test_an_arabic_comparison_names_its_sides_in_arabic(visit: Visit) -> None:
    at = visit("pages/comparisons.py", "ar")
    at.get_by_key("choose aspect ar").set_value("Knock-outs").run()
    assert not at.exception
    names = [trace.get("name") for trace in figures(at)[2]["data"] if trace["type"] == "bar"]
    assert names == [Text("ar")("A"), Text("ar")("B")]
