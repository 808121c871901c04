"""The guided steps: predict first, then see what the network on show gives; a teacher may jump and start over."""

import streamlit as st
from torch import Tensor

from inception_viz.engine.local import Progress
from inception_viz.lessons import LESSONS, Lesson, Measured
from inception_viz.models import BOXED, Model
from inception_viz.text import Text
from pages.shell import controls, frame, results, session

SHOWN = "lessons shown"
PREDICTED = "lessons predicted"


def _kept(name: str) -> dict[str, int]:
    return session.current().choices.setdefault(name, {})


def _go(word: str) -> None:
    controls.put("lesson", word)


def _start_over() -> None:
    chosen = session.current()
    chosen.choices[SHOWN], chosen.choices[PREDICTED] = {}, {}
    for word in LESSONS:
        for key in [k for k in st.session_state if str(k).startswith(f"prediction {word}")]:
            st.session_state[key] = None
    _go(next(iter(LESSONS)))


def boxed(text: Text) -> bool:
    """Whether the boxed network answers, which the lessons are about; a way back to it if not."""
    used = results.model(text)
    if used.architecture == "googlenet" and used.weights.name == BOXED:
        return True
    st.info(text("The lessons are about the boxed network; another one is chosen now."))
    st.button(text("Take the boxed network"), on_click=session.current().forget_model, type="primary")
    return False


def choose(text: Text) -> str:
    """Which step; any of them at any time.

    The ways on are drawn first and stand still: a button that moves down when the answer comes, or is drawn after the step that it leads on from,
    loses the click of somebody quick.
    """
    words = list(LESSONS)
    told = {word: text("{n} of {all}: {title}", n=i, all=len(words), title=text(LESSONS[word].title)) for i, word in enumerate(words, 1)}
    before, which, after, anew = st.columns([3, 5, 3, 3], vertical_alignment="bottom")
    with which:
        word = controls.choice("lesson", text("Step"), told)
    place = words.index(word)
    with before:
        st.button(text("Step before"), disabled=place == 0, on_click=_go, args=(words[max(place - 1, 0)],), width="stretch")
    with after:
        to = words[min(place + 1, len(words) - 1)]
        st.button(text("Next step"), disabled=word == to, on_click=_go, args=(to,), width="stretch")
    with anew:
        st.button(text("Start over"), on_click=_start_over, width="stretch", help=text("Forgets all predictions: for the next class."))
    return word


def _measured(text: Text, word: str) -> Measured:
    used, analysis, picture = results.model(text), results.analysis(text), session.current().picture

    def work(on: Model, progress: Progress) -> Measured:
        inputs: Tensor = on.input(picture)
        return LESSONS[word].measure(on, inputs, analysis)

    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "lesson", ("lesson", word, analysis.key), here, smaller=smaller)


def _predict(text: Text, word: str, lesson: Lesson) -> int | None:
    key = f"prediction {word} {text.language}"
    given = _kept(PREDICTED).get(word)
    answer = st.radio(
        f"**{text(lesson.question)}**", range(len(lesson.answers)), given, format_func=lambda i: text(lesson.answers[i]), key=key,
        disabled=word in _kept(SHOWN),
    )  # fmt: skip
    if answer is not None:
        _kept(PREDICTED)[word] = answer
    return answer


def _show(word: str) -> None:
    _kept(SHOWN)[word] = 1


def _reveal(text: Text, word: str, lesson: Lesson, predicted: int | None) -> None:
    if word not in _kept(SHOWN):
        st.button(text("Show what the network says"), on_click=_show, args=(word,), type="primary", disabled=predicted is None)
        if predicted is None:
            st.caption(text("Predict first: choose an answer. A surprise teaches more than a number."))
        return
    measured = _measured(text, word)
    right = lesson.right(measured)
    with st.container(border=True, key="reveal"):
        st.markdown(f"### {lesson.told(text, measured)}")
        if predicted == right:
            st.success(text("As you predicted: {answer}.", answer=text(lesson.answers[right])))
        else:
            st.warning(text("It is: {answer}. That is not what you predicted.", answer=text(lesson.answers[right])))
        st.markdown(text(lesson.meaning))


def _link(text: Text, lesson: Lesson) -> None:
    page = frame.PAGES[next(page for page in lesson.pages if page in frame.PAGES)]
    view = {"lang": session.current().language, "model": "googlenet", "weights": BOXED} | dict(lesson.view)
    st.page_link(frame.target(page), label=text("See it yourself on “{page}”", page=text(page.title)), query_params=view)


def step(text: Text, word: str) -> None:
    """One step: its story, the question, the answer once it has been predicted, and the way to the page that shows it."""
    lesson = LESSONS[word]
    st.progress((list(LESSONS).index(word) + 1) / len(LESSONS))
    st.header(text(lesson.title), anchor=False)
    st.markdown(text(lesson.story))
    predicted = _predict(text, word, lesson)
    with st.container(key="answer"):
        _reveal(text, word, lesson, predicted)
    _link(text, lesson)


def score(text: Text) -> None:
    """What was predicted and what was found, so far."""
    done = [word for word in LESSONS if word in _kept(SHOWN)]
    if not done:
        return
    rows = []
    for word in done:
        lesson, predicted = LESSONS[word], _kept(PREDICTED).get(word)
        measured = _measured(text, word)
        said = text(lesson.answers[predicted]) if predicted is not None else "–"
        rows.append(
            {text("Step"): text(lesson.title), text("Predicted"): said, text("Found"): text(lesson.answers[lesson.right(measured)])}
        )
    st.subheader(text("So far"), anchor=False)
    st.table(rows)
