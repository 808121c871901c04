"""What can go wrong with what a person gave: each error says what was found and what is allowed, in any language.

Every class has one sentence, `words`, with blanks; an instance carries the facts that fill them. `assert` is for our own mistakes.
"""

from typing import ClassVar

from inception_viz.text import Blank, Text, message


class VisitorError(Exception):
    """The root of every error that a visitor, not we, can put right."""

    words: ClassVar[str] = message("Something in the request cannot be used.")

    def __init__(self, **facts: Blank) -> None:
        self.facts = facts
        super().__init__(self.words.format(**facts))

    def __reduce__(self) -> tuple:
        return _made, (type(self), self.facts)  # an exception is made again from its arguments, and these are named ones

    def told(self, text: Text) -> str:
        """The sentence in the language of `text`."""
        return text(self.words, **self.facts)


def _made(kind: type[VisitorError], facts: dict[str, Blank]) -> VisitorError:
    return kind(**facts)


class UnknownChoice(VisitorError):
    """A name that is not among the choices: a block, a method, an architecture."""

    words = message("“{found}” is not a {kind} here. Choose one of: {allowed}.")

    def told(self, text: Text) -> str:
        """The sentence in the language of `text`, its kind of thing too."""
        return text(self.words, **(self.facts | {"kind": text(str(self.facts["kind"]))}))


class Cancelled(VisitorError):
    """The work was stopped: by the person, by a newer request of the same session, or because the session has gone."""

    words = message("Stopped before it was finished.")


class Busy(VisitorError):
    """The queue of the model's owner is full."""

    words = message("{n} requests are waiting already. Try again in a moment.")
