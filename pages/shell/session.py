"""Everything that one visitor has chosen, under one key; a choice made on one page holds on all others."""

import hashlib
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import ScriptRunContext, get_script_run_ctx

from inception_viz import images, memory
from inception_viz.images import Picture
from inception_viz.memory import VISITOR
from inception_viz.text import LANGUAGES

KEY = "session"
OWN = "own"  # in the address of a page that shows what somebody uploaded
MOST_PICTURES = 12


@dataclass(frozen=True, eq=False)
class File:
    """An uploaded file; its SHA-256 is taken once, not at every drawing of a page."""

    name: str
    data: bytes
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> "File":
        """The file with its SHA-256."""
        return cls(images.shown_name(name), data, hashlib.sha256(data).hexdigest())


@dataclass
class Session:
    """One visitor's choices. `file` holds weights of their own; `pictures` are in the order of upload, `shown` is the one on show.

    `page` is the one opened last; `asked` holds what the address asks of controls that have not been drawn yet,
    `said` what was written into it last, `address` what it holds while a page is drawn (see `links`).
    `uploaded` says whether anything came from the visitor: the address then says so too, and if the server is started anew under an open page, the
    new session can tell that something is gone.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    language: str = "en"
    architecture: str = "googlenet"
    weights: str | None = None
    device: str | None = None
    file: File | None = None
    class_names: File | None = None
    pictures: list[Picture] = field(default_factory=list)
    shown: int = 0
    uploaded: bool = False
    choices: dict[str, Any] = field(default_factory=dict)
    page: str | None = None
    asked: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    address: dict[str, str] = field(default_factory=dict)
    theme: str | None = None
    presenter: bool = False
    notices: DeltaGenerator | None = None

    @property
    def picture(self) -> Picture:
        """The picture on show; the first sample until there is another."""
        if not self.pictures:
            self.pictures = [sample(next(iter(images.samples())))]
        return self.pictures[min(self.shown, len(self.pictures) - 1)]

    def show(self, pictures: list[Picture]) -> None:
        """Look at these from now on, the first one first; classes chosen for the last picture are forgotten."""
        self.pictures, self.shown = pictures[:MOST_PICTURES], 0
        self.forget_target()

    @property
    def has_own_model(self) -> bool:
        """Whether the network, its weights or the device were chosen by hand."""
        return bool(self.weights or self.device or self.file or self.class_names or self.architecture != Session.architecture)

    def forget_model(self) -> None:
        """Go back to the network, the weights and the device that come first."""
        self.architecture, self.weights, self.device = Session.architecture, None, None
        self.file = self.class_names = None
        self.forget_target()

    def forget_target(self) -> None:
        """Explain the likeliest class again."""
        self.choices.pop("target", None)
        self.choices.pop("against", None)


_here: dict[str, str] = {}  # Streamlit's name of a session -> ours


def gone(name: str) -> None:
    """What was computed for a session that has ended, by Streamlit's name for it, is forgotten, unless somebody else has asked for it too."""
    if (visitor := _here.pop(name, None)) is not None:
        memory.forget(visitor)


@cache
def sample(name: str) -> Picture:
    """A sample picture, decoded once."""
    return images.decode(images.samples()[name].read(), name)


_mine: ContextVar[tuple[ScriptRunContext, Session] | None] = ContextVar("session", default=None)  # of the page that this thread draws


def current() -> Session:
    """This visitor's session, its language taken from the address, else from the browser. Not for the owner's thread, which has no visitor."""
    running, mine = get_script_run_ctx(suppress_warning=True), _mine.get()
    assert running is not None, "asked outside of a page: the session would be nobody's"
    if mine is not None and mine[0] is running:
        return mine[1]
    session: Session = st.session_state[KEY] if KEY in st.session_state else _begun()
    _mine.set((running, session))
    _here[running.session_id] = session.id
    VISITOR.set(session.id)
    return session


def _begun() -> Session:
    session = st.session_state[KEY] = Session()
    asked = st.query_params.get("lang")
    if asked in LANGUAGES:
        session.language = asked
    elif (st.context.locale or "").startswith("ar"):
        session.language = "ar"
    if OWN in st.query_params:
        session.choices["gone"] = True
    return session


def choose_language() -> None:
    """What the language switch does."""
    session: Session = st.session_state[KEY]
    session.language = st.session_state["language"]
    st.query_params["lang"] = session.language
