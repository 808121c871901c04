"""The panels of the laboratory: each tells its claim, what was found, how it was measured, and gives its numbers as a file."""

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from inception_viz import cost, overfitting
from inception_viz.text import LANGUAGES, Text
from tests.pages.conftest import Visit, told

BOTH = pytest.mark.parametrize("language", LANGUAGES)


VERDICTS = ("Supported on this machine: {found}", "Not supported on this machine: {found}", "Neither supported nor refuted here: {found}")


def panel(at: AppTest, name: str, value: str) -> AppTest:
    language = at.session_state["session"].language
    at.get_by_key(f"panel {name} {language}").set_value(value).run()
    assert not at.exception, at.exception[0].message
    assert [e.value for e in at.error] == []
    return at


def check(at: AppTest, claim: str, language: str) -> None:
    text = Text(language)
    said = told(at)
    assert text("“{claim}”", claim=text(claim)) in said
    verdicts = "\n".join(e.value for e in [*at.success, *at.warning, *at.info]).replace("\\", "")
    assert any(text(words, found="…").split("…")[0].rstrip("\u2066\u2067\u2068") in verdicts for words in VERDICTS)
    assert [b.proto.label for b in at.get("download_button")] == [text("All numbers as CSV")]
    assert re.search("float32", said)
    if language == "ar":
        assert re.findall(r"(?:[A-Za-z]{2,}[ ,]+){3,}[A-Za-z]{2,}", said) == []


@BOTH
@pytest.mark.parametrize(
    ("name", "claim"),
    [("depth", cost.LINEAR), ("factor", cost.QUADRATIC), ("stages", cost.DEEPER), ("blocks", cost.REDUCE), ("own", cost.REDUCE)],
)
def test_costs_are_measured_and_told(visit: Visit, name: str, claim: str, language: str) -> None:
    at = panel(visit("pages/cost.py", language), "cost", name)
    check(at, claim, language)
    assert len(at.get("plotly_chart")) == 1


def test_a_block_can_be_edited_and_costs_what_the_library_says(visit: Visit) -> None:
    at = panel(visit("pages/cost.py"), "cost", "own")
    before = next(m for m in at.metric if m.label == "Multiply-accumulates").value
    at.get_by_key("choose width 4a three en").set_value(104).run()
    assert not at.exception
    after = next(m for m in at.metric if m.label == "Multiply-accumulates").value
    assert (before, after) == ("73.6 M", f"{(73_608_192 - 96 * 104 * 9 * 14**2) / 1e6:,.1f} M")
    assert next(m for m in at.metric if m.label == "Output channels").value == str(512 - 104)
    assert f"Each width from 1 to {cost.WIDEST_BLOCK} channels" in told(at)
    low, time, high = (float(n) for n in re.search(r"Time: ([\d.e+]+) ms, from ([\d.e+]+) to ([\d.e+]+)", told(at)).group(2, 1, 3))
    assert 0 < low <= time <= high


def test_measuring_again_measures_again(visit: Visit) -> None:
    at = visit("pages/cost.py")
    figure = at.get("plotly_chart")[0].proto.spec
    at.run()
    assert at.get("plotly_chart")[0].proto.spec == figure  # remembered
    at.get_by_key("again width").click().run()
    assert not at.exception
    assert at.get("plotly_chart")[0].proto.spec != figure


def test_a_panel_chosen_holds_on_return(visit: Visit) -> None:
    at = panel(visit("pages/cost.py"), "cost", "depth")
    at.switch_page("pages/overfitting.py").run()
    at.switch_page("pages/cost.py").run()
    assert at.get_by_key("panel cost en").value == "depth"


@BOTH
def test_training_waits_for_a_click_and_then_tells_its_gap(visit: Visit, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overfitting, "WIDTHS", (1, 16 if language == "en" else 8))  # what is known is shown at once
    monkeypatch.setattr(overfitting, "SEEDS", 2)
    at = visit("pages/overfitting.py", language)
    check(at, overfitting.PRONE, language)
    panel(at, "overfitting", "parameters")
    assert not at.get("plotly_chart")
    next(b for b in at.button if b.proto.type == "primary").click().run()
    assert not at.exception
    check(at, overfitting.LARGER, language)
    assert len(at.get("plotly_chart")) == 1


def packed() -> bytes:
    out, shot = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(shot, "PNG")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("goldfish/1.png", shot.getvalue())
        archive.writestr("nonsense/2.png", b"nothing")
    return out.getvalue()


@BOTH
def test_waste_is_found_removed_and_judged(visit: Visit, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from inception_viz import pruning, waste

    monkeypatch.setattr(waste, "LOOKED_AT", 1)
    monkeypatch.setattr(pruning, "JUDGED_ON", 1)
    text = Text(language)
    at = visit("pages/waste.py", language)
    check(at, waste.CAPACITY, language)
    panel(at, "waste", "channels")
    check(at, waste.IDLE, language)
    panel(at, "waste", "removal")
    assert text("Judged on {n} labelled pictures. Lines are 95% intervals; dotted: the whole network.", n=1) not in told(at)
    at.get_by_key("labelled zip").set_value(("set.zip", packed(), "application/zip")).run()
    assert not at.exception
    assert text("Judged on {n} labelled pictures. Lines are 95% intervals; dotted: the whole network.", n=1) in told(at)
    assert text.plural("{n} file was left out.", "{n} files were left out.", 1) in told(at)


def test_a_zip_that_is_none_is_told(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    from inception_viz import pruning, waste

    monkeypatch.setattr(waste, "LOOKED_AT", 1)
    monkeypatch.setattr(pruning, "JUDGED_ON", 1)
    at = panel(visit("pages/waste.py"), "waste", "removal")
    at.get_by_key("labelled zip").set_value(("set.zip", b"nothing", "application/zip")).run()
    assert not at.exception
    assert len(at.error) == 1
