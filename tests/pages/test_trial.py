"""The pages of construction and trial: steps can be overridden, the small trial runs here, and the constructed network shows on every page."""

import pytest

from inception_viz import models, trial
from inception_viz.trial import DIGITS, Recipe
from pages.shell.frame import PAGES
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
