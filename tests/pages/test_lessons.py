"""The lessons: a prediction before the answer, numbers from the network on show, and a teacher who may jump and start over."""

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz.lessons import LESSONS
from inception_viz.text import LANGUAGES, Text
from tests.pages.conftest import Visit, told

WORDS = list(LESSONS)


def button(at: AppTest, label: str) -> AppTest:
    """The page after a click on a button."""
    next(b for b in at.button if b.label == label).click().run()
    assert not at.exception
    return at


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_class_walks_through_all_steps(visit: Visit, language: str) -> None:
    text, at = Text(language), visit("pages/lessons.py", language)
    for word in WORDS:
        lesson = LESSONS[word]
        assert at.header[0].value == text(lesson.title)
        assert text(lesson.meaning) not in told(at), "the answer was shown before the prediction"
        assert next(b for b in at.button if b.label == text("Show what the network says")).disabled
        at.radio[0].set_value(0).run()
        button(at, text("Show what the network says"))
        assert text(lesson.meaning) in told(at)
        assert len(at.success) + len(at.warning) == 1
        if word != WORDS[-1]:
            button(at, text("Next step"))
    assert len(at.table[0].value) == len(WORDS)
    button(at, text("Start over"))
    assert at.header[0].value == text(LESSONS[WORDS[0]].title)
    assert at.radio[0].value is None
    assert not at.table


def test_a_teacher_jumps_by_the_address_and_by_the_picker(visit: Visit) -> None:
    at = visit("pages/lessons.py", lesson="coincidence")
    assert at.header[0].value == "Is it coincidence?"
    at.get_by_key("choose lesson en").set_value("hebb").run()
    assert at.header[0].value == "Hebb"


def test_the_lessons_want_the_boxed_network(visit: Visit) -> None:
    at = visit("pages/lessons.py", model="inception_v3", weights="random")
    assert not at.radio
    button(at, "Take the boxed network")
    assert at.header[0].value == "Size"


def test_a_prediction_holds_over_a_change_of_language(visit: Visit) -> None:
    at = visit("pages/lessons.py")
    at.radio[0].set_value(2).run()
    at.get_by_key("language").set_value("ar").run()
    assert at.radio[0].value == 2
    assert at.radio[0].options[2] == Text("ar")(LESSONS["size"].answers[2])
