"""Every hostile picture on the page itself, in both languages by turns: shown or refused in words, and never a traceback."""

import itertools

import pytest

from inception_viz.text import LANGUAGES, Text
from tests import hostile_pictures
from tests.hostile_names import NAMES
from tests.pages.conftest import Visit, told

CASES = [case for case in hostile_pictures.cases() if len(case.data) < 1_000_000]
TOGETHER = 12


def test_there_are_three_hundred_of_them() -> None:
    assert len(CASES) >= 300


def test_every_hostile_picture_is_shown_or_refused_in_words(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {language: visit(language=language) for language in LANGUAGES}
    languages = itertools.cycle(pages)
    for start in range(0, len(CASES), TOGETHER):
        cases, at = CASES[start : start + TOGETHER], pages[next(languages)]
        at.get_by_key("home pictures").set_value([(f"p{i:02}.png", case.data, "image/png") for i, case in enumerate(cases)]).run()
        assert not at.exception, [case.name for case in cases]
        refused = [error.value for error in at.error]
        assert len(refused) <= len(cases)
        for i, case in enumerate(cases):
            named = any(f"p{i:02}.png" in words for words in refused)
            assert case.expect == "either" or named == (case.expect == "refuse"), case.name
        assert not any(word in " ".join(refused) for word in ("Traceback", "0x", "Error"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_are_shown_and_lose_their_power(visit: Visit, language: str) -> None:
    at = visit(language=language)
    for start in range(0, len(NAMES), TOGETHER):
        at.get_by_key("home pictures").set_value([(name, b"nothing", "image/png") for name in NAMES[start : start + TOGETHER]]).run()
        assert not at.exception
        for error in at.error:
            assert not set("<>!#|$[]\n\0\x1b\u202e") & set(error.value.replace("\\<", "").replace("\\>", "").replace("\\!", "").replace("\\#", "")
                .replace("\\|", "").replace("\\$", "").replace("\\[", "").replace("\\]", ""))  # fmt: skip
    assert Text(language)("What the network says") in told(at)
