"""The pages of construction and trial: steps can be overridden, the small trial runs here, and the constructed network shows on every page."""

import pytest

from inception_viz import construction, descriptions, models, trial
from inception_viz.architecture import describe
from inception_viz.tables import Block
from inception_viz.text import Text
from inception_viz.trial import DIGITS, TOPOLOGIES, Recipe
from pages.shell.frame import PAGES
from pages.shell.trial import LIVE
from tests.pages.conftest import Visit, told

QUICK = trial.Task("digits", DIGITS.skeleton, Recipe(epochs=1, batch=50, rate=0.1, shift=1, mirror=False), DIGITS.budgets)


def test_a_step_can_be_overridden(visit: Visit) -> None:
    at = visit("pages/construction.py")
    before = at.table[0].value
    next(box for box in at.selectbox if box.label == "Groups of 3x3 and 5x5").select(4).run()
    next(box for box in at.selectbox if box.label == "Kept by a reduction").select(100).run()
    assert not at.exception
    after = at.table[0].value
    assert after["Groups"].iloc[0] == 4
    assert after["reduce 3x3"].iloc[0] == after["3x3"].iloc[0]
    assert before["1x1"].iloc[1] == after["1x1"].iloc[1]  # the architects' own stays


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_constructed_network_is_saved_and_opened_again(visit: Visit, language: str) -> None:
    """The JSON of the page Construct, given to the first page, is the network that all pages look into; a bad one is told."""
    text = Text(language)
    architecture = describe(models.load("googlenet", "random", "cpu"))
    table = construction.in_place(architecture, "4b", Block(9, 4, 8, 4, 8, 3, 2, 2), 7)
    at = visit("app.py", language)
    at.get_by_key("home file").set_value(("mine.json", descriptions.written(table), "application/json")).run()
    assert not at.exception
    assert [e.value for e in at.error] == []
    assert at.get_by_key("home architecture").value == models.CONSTRUCTED
    at.switch_page("pages/construction.py").run()
    assert not at.exception
    at.get_by_key(f"choose block {language}").set_value("4a").run()
    assert at.table[0].value.iloc[1, 1] == 9  # now the architects' own
    at.switch_page("app.py").run()
    at.get_by_key("home file").set_value(("bad.json", b"[" * 100_000, "application/json")).run()
    assert not at.exception
    assert text(descriptions.NotADescription.words) in told(at)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_topologies_have_words_in_every_language(visit: Visit, language: str) -> None:
    text = Text(language)
    at = visit("pages/trial.py", language)
    assert at.multiselect[0].options == [text(words) for name, words in TOPOLOGIES.items() if name in LIVE]


def test_a_small_trial_runs_here(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "DIGITS", QUICK)
    at = visit("pages/trial.py")
    tables = len(at.table)
    at.toggle[0].set_value(True).run()
    assert not at.exception
    assert len(at.table) == tables + 1
    assert list(at.table[-1].value["Seeds"]) == [2, 2, 2]


@pytest.mark.parametrize("word", [w for w in PAGES if w not in ("home", "trial", "cost", "overfitting")])
def test_every_page_looks_into_the_constructed_network(visit: Visit, word: str) -> None:
    at = visit("app.py")
    at.get_by_key("home architecture").set_value(models.CONSTRUCTED).run()
    at.switch_page(PAGES[word].path).run()
    assert not at.exception
    assert [e.value for e in at.error] == []
    assert "constructed" in told(at)
