"""The page of localisation: the true box by keyboard, every method against it and against boxes that look at nothing, and no call for a threshold."""

import hashlib

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz import boxes, corloc, images
from inception_viz.boxes import Box
from inception_viz.text import LANGUAGES, Text
from pages.shell import results
from tests.pages.conftest import Visit, told
from tests.pages.test_every_page import figures


def put(at: AppTest, *edges: int) -> AppTest:
    """Type the four edges and take the box."""
    for edge, value in zip(("left", "top", "right", "bottom"), edges, strict=True):
        next(n for n in at.number_input if n.key.startswith(f"true box {edge} ")).set_value(value)
    next(b for b in at.button if "FormSubmitter" in b.key).click().run()
    assert not at.exception
    return at


def picker(at: AppTest):  # type: ignore[no-untyped-def]  # AppTest has no name for a segmented control
    """The row of pictures."""
    shown = at.session_state["session"].picture.sha256[:8]
    return at.get_by_key(f"choose localised picture {shown} en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_method_is_measured_against_the_true_box(visit: Visit, language: str) -> None:
    text, at = Text(language), visit("pages/localisation.py", language)
    assert text("Draw the true box, and every method is measured against it.") in told(at)
    at = put(at, 60, 400, 510, 10)  # inside out is put right
    true, table = Box(60, 10, 510, 400), at.dataframe[0].value
    middle = boxes.in_the_middle(600, 400, corloc.results()[0].by_name[corloc.MIDDLE].threshold)  # type: ignore[index, arg-type]
    overlaps = dict(zip(table[text("Method")], table[text("Overlap (IoU)")], strict=True))
    assert list(overlaps) == [text(m) for m in ("class activation map", "grad-cam", "best cluster", corloc.MIDDLE, corloc.WHOLE)]
    assert float(overlaps[text(corloc.MIDDLE)]) == pytest.approx(true.overlap(middle), abs=0.006)
    assert float(overlaps[text(corloc.WHOLE)]) == pytest.approx(true.area / 240_000, abs=0.006)
    assert text("yes") in set(table[text("Right (at least 0.5)")])
    assert text("your box") in [trace.get("name") for trace in figures(at)[0]["data"]]


def test_the_threshold_asks_the_network_for_nothing(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit("pages/localisation.py")
    before = figures(at)[1]["data"]

    def asked(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(results.analyses, "analyze", asked)
    next(s for s in at.slider if "maximum" in s.label).set_value(90).run()
    assert not at.exception
    assert at.error == []
    assert figures(at)[1]["data"] != before


def test_boxes_of_several_pictures_are_counted_together(visit: Visit) -> None:
    at = put(visit("pages/localisation.py"), 60, 10, 510, 400)
    picker(at).set_value(hashlib.sha256(images.samples()["chelsea"].read()).hexdigest()).run()
    assert not at.exception
    at = put(at, 10, 10, 440, 290)
    rows = at.dataframe[1].value
    assert rows["Picture"].tolist() == ["A cup of coffee", "Chelsea the cat", "CorLoc, n = 2"]
    right = sum(float(v) >= 0.5 for v in rows["class activation map"][:2])
    assert rows["class activation map"].iloc[2].startswith(f"{right} / 2 (")
    next(b for b in at.button if b.label == "Forget the box").click().run()
    assert at.dataframe[0].value["Picture"].tolist()[-1] == "CorLoc, n = 1"


def test_any_cluster_and_any_block_can_be_looked_at(visit: Visit) -> None:
    at = visit("pages/localisation.py")
    at.get_by_key("choose located block googlenet en").set_value("4c").run()
    next(b for b in at.selectbox if b.label == "Cluster").select_index(2).run()
    at.get_by_key("choose grad-cam block googlenet en").set_value("3a").run()
    assert not at.exception
    assert "This is cluster 2." in told(at)


def test_the_measured_numbers_tell_their_n(visit: Visit) -> None:
    at = visit("pages/localisation.py")
    found = corloc.results()
    assert found is not None
    assert [e.label for e in at.expander][-1] == f"Measured on n = {found[0].n} pictures"
    worse = sum(row.corloc_gain is not None and row.corloc_gain.found < 0 and (row.corloc_q or 0) <= 0.05 for row in found[0].rows)
    assert f"of 3 methods are right more often than the best box in the middle, {worse} less often" in told(at)
    assert len(at.expander[-1].dataframe[0].value) == len(found[0].rows)


def test_another_photo_of_the_visitor_is_shown_at_once_and_its_name_is_no_markdown(visit: Visit) -> None:
    at = visit("pages/localisation.py")
    picker(at).set_value(hashlib.sha256(images.samples()["chelsea"].read()).hexdigest()).run()
    own = images.decode(images.samples()["flower"].read(), "![x](y).jpg")
    at.session_state["session"].show([own])
    at.run()
    assert not at.exception
    assert picker(at).value == own.sha256
    assert "[x](y)" not in picker(at).options[0]


def test_it_works_for_inception_v3_too(visit: Visit) -> None:
    at = visit("pages/localisation.py")
    chosen = at.session_state["session"]
    chosen.architecture, chosen.weights = "inception_v3", "random"
    at.run()
    assert not at.exception
    assert at.error == []
    assert at.get_by_key("choose grad-cam block inception_v3 en").value == "6e"
    assert at.get_by_key("choose located block inception_v3 en").value == "7c"
