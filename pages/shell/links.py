"""The exact view in the address: what it asks for when a page opens, and what it says once the page is drawn.

The address is read when a visitor comes or changes the page, never between: a quick second click would still carry what the address said before
the first. A value is taken only if it is one of the choices that are there when its control is drawn; anything else is told and left alone.
"""

import ast
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from inception_viz import images, models
from inception_viz.text import LANGUAGES, Text
from pages.shell import results, session

PAGES = Path(__file__).parent.parent
CONTROLS = {"choice", "one_of", "some", "number", "typed", "switch"}
THEMES = ("light", "dark")
PRESENTER = "presenter"
OF_THE_VIEW = ("lang", "theme", "view", "model", "weights", "picture", "panel", session.OWN)
MOST_NAMES, MOST_LETTERS, SHOWN_LETTERS = 60, 400, 40
NONE, BETWEEN = "none", ","
_NAME = re.compile(r"[\w -]{1,40}")

_COPY = """export default function({data, parentElement}) {
  const button = parentElement.querySelector("button"), told = parentElement.querySelector("span");
  button.textContent = data.label;
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {  // no clipboard where the address is not https
      const field = document.createElement("textarea");
      field.value = location.href;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    told.textContent = data.copied;
    setTimeout(() => { told.textContent = ""; }, 3000);
  };
}"""
_copy = st.components.v2.component(
    "copy_link",
    html='<button type="button">⧉</button> <span role="status"></span>',  # a button has a name before its words come
    css="""button{font:inherit;color:var(--st-text-color);background:var(--st-background-color);border:1px solid var(--st-border-color);
    border-radius:var(--st-button-radius);padding:.3rem .8rem;cursor:pointer;min-height:2.25rem}
    button:hover,button:focus-visible{border-color:var(--st-primary-color);color:var(--st-primary-color)}
    button:focus-visible{outline:2px solid var(--st-primary-color);outline-offset:2px}span{font-size:.85rem}""",
    js=_COPY,
)


@lru_cache(maxsize=1)
def _names() -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of the view and of all controls, read from the pages' own source, and beginnings of those that end with what their options depend on."""
    found, beginnings = set(OF_THE_VIEW), set()
    for path in PAGES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
                if called in CONTROLS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    (beginnings if first is not node.args[0] else found).add(first.value)
    return frozenset(found), tuple(sorted(beginnings))


def known(name: str) -> bool:
    """Whether an address may hold this name."""
    found, beginnings = _names()
    return name in found or name.startswith(beginnings)


def identity(value: object) -> str | None:
    """How an address names a choice, in no language; None if it can't."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        parts = [identity(part) for part in value]
        return None if any(part is None or BETWEEN in part for part in parts) else BETWEEN.join(map(str, parts))
    told = str(value)
    return told if isinstance(value, str | int | float) and len(told) <= MOST_LETTERS else None


def _notices() -> DeltaGenerator:
    return session.current().notices or st.container()


def _refuse(text: Text, name: str, value: str) -> None:
    _notices().warning(
        text("The address asks for {name} = “{value}”, which is not to be had here; this part of it was ignored.",
             name=results.plain(name), value=results.plain(value[:SHOWN_LETTERS]))
    )  # fmt: skip


def _unknown(text: Text, names: list[str]) -> None:
    told = [results.plain(name) for name in names if _NAME.fullmatch(name)][:5]
    _notices().warning(
        text("The address holds something that this app does not know: {names}. It was ignored.", names=", ".join(told) or "?")
    )


def say(name: str, value: object) -> None:
    """Write what is on show into the address."""
    told, chosen = identity(value), session.current()
    if told is None:
        _say_nothing(name)
        return
    chosen.said[name] = told
    if chosen.address.get(name) != told:
        chosen.address[name] = st.query_params[name] = told


def _say_nothing(name: str) -> None:
    if session.current().address.pop(name, None) is not None:
        st.query_params.pop(name, None)


def _take(name: str, options: Iterable[str], text: Text) -> str | None:
    wanted = session.current().asked.pop(name, None)
    if wanted is None or wanted in options:
        return wanted
    _refuse(text, name, wanted)
    return None


def _read(text: Text) -> None:
    """What the address asks for; what is not known in any page is told and dropped."""
    chosen = session.current()
    given = {k: v for k, v in chosen.address.items() if len(k) <= MOST_LETTERS}
    strange = [name for name in given if not known(name)]
    for name in strange:
        _say_nothing(name)
    if strange:
        _unknown(text, strange)
    new = {name: value for name, value in given.items() if known(name) and chosen.said.get(name) != value}
    chosen.asked |= {name: new[name][: MOST_LETTERS + 1] for name in list(new)[:MOST_NAMES]}


def _take_view(text: Text) -> None:
    chosen = session.current()
    _take("lang", LANGUAGES, text)  # the session took it before the first word was said
    chosen.theme = _take("theme", THEMES, text) or chosen.theme
    chosen.presenter = bool(_take("view", [PRESENTER], text)) or chosen.presenter
    architecture = _take("model", models.ARCHITECTURES, text)
    if architecture and architecture != chosen.architecture:
        chosen.forget_model()
        chosen.architecture = architecture
    weights = _take("weights", models.choices(chosen.architecture), text)
    if weights and weights != (chosen.weights or models.choices(chosen.architecture)[0]):
        chosen.weights, chosen.file = weights, None
        chosen.forget_target()
    picture = _take("picture", images.samples(), text)
    if picture and picture != sample_on_show():
        chosen.show([session.sample(picture)])


def sample_on_show() -> str | None:
    """The name of the sample that is on show; None for a picture of the visitor's own."""
    shown = session.current().picture
    return shown.name if shown.name in images.samples() and session.sample(shown.name).sha256 == shown.sha256 else None


def _shown_theme() -> str | None:
    return st.context.theme.type


def _say_view() -> None:
    chosen = session.current()
    shown = _shown_theme()
    if chosen.theme == shown:
        chosen.theme = None  # as asked; from now on the visitor's own switch counts
    view = {
        "lang": chosen.language,
        "theme": chosen.theme or shown,
        "view": PRESENTER if chosen.presenter else None,
        "model": chosen.architecture,
        "weights": None if chosen.file else chosen.weights or models.choices(chosen.architecture)[0],
        "picture": sample_on_show(),
        session.OWN: "1" if chosen.uploaded else None,
    }
    for name, value in view.items():
        if value is None:
            _say_nothing(name)
        else:
            say(name, value)


def open_view(text: Text, word: str, notices: DeltaGenerator) -> None:
    """Show what the address asks for, if the visitor has just come to this page; then say in it what is on show.

    What is ignored is told in `notices`, by this function and by the controls that are drawn later.
    """
    chosen = session.current()
    chosen.notices, chosen.address = notices, st.query_params.to_dict()
    if chosen.page != word:
        chosen.page = word
        _read(text)
        _take_view(text)
    _say_view()


def asked(name: str) -> str | None:
    """What the address asks of a control, once."""
    return session.current().asked.pop(name, None)


def refuse(name: str, value: str) -> None:
    """Tell that a control has no such choice."""
    _refuse(Text(session.current().language), name, value)


def copy(text: Text) -> None:
    """A button that copies the address of exactly this view."""
    _copy(data={"label": text("Copy a link to this view"), "copied": text("Copied")}, key="copy link")
    chosen = session.current()
    if chosen.file or sample_on_show() is None:
        st.caption(text("Your own files are not in the link: who opens it sees a sample, or the boxed network, instead."))
