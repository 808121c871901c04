"""Results -> pictures of them, in the visitor's language; the only home of plotly. Backgrounds are transparent: both themes show through."""

import hashlib
import pickle
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from plotly.graph_objects import Figure

from inception_viz.correlations import Correlation
from inception_viz.memory import Memory
from inception_viz.text import Text

__all__ = ["Figure", "remembered"]

REMEMBERED = 160  # figures, of half a megabyte at most
Given = ParamSpec("Given")


class _Hash:
    """A file that keeps nothing but the hash of what is written."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.write = self._hash.update
        self.hexdigest = self._hash.hexdigest


class _Pickler(pickle.Pickler):
    """Goes through whatever a figure is drawn from; nothing is ever unpickled."""

    def persistent_id(self, thing: object) -> str | None:
        """Words count by their language, similarities by what they know of themselves."""
        if isinstance(thing, Text):
            return thing.language
        return thing.digest if isinstance(thing, Correlation) else None


class _Drawn(Figure):
    """A figure that changes no more: what the browser gets of it is made once, for Streamlit asks at every drawing of a page."""

    def to_dict(self) -> dict[str, Any]:
        """What plotly makes of it, made once."""
        if "_made" not in self.__dict__:
            self._made = super().to_dict()
        return self._made


_drawn: Memory[Figure] = Memory(REMEMBERED)
# One is drawn at a time: thirty at once are no faster, and keep the thread that answers from the interpreter for seconds.
_turn = threading.RLock()


def remembered(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Draw the same only once: plotly takes 30 ms for a figure of four heatmaps, and a page is drawn again at every click.

    Figures are known by the content of everything that they are drawn from, and are not to be changed after they were drawn.
    """

    @wraps(draw)
    def drawn(*given: Given.args, **named: Given.kwargs) -> Figure:
        digest = _Hash()
        _Pickler(digest, protocol=5).dump((draw.__module__, draw.__qualname__, given, named))
        return _drawn.recall(digest.hexdigest(), lambda: fixed(*given, **named))

    def fixed(*given: Given.args, **named: Given.kwargs) -> Figure:
        with _turn:
            figure = draw(*given, **named)
        figure.__class__ = _Drawn
        return figure

    return drawn
