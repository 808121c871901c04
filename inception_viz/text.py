"""Words in the visitor's language: gettext catalogues, Arabic plurals, and isolation of what stays left-to-right."""

import io
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES = Path(__file__).parent.parent / "assets" / "locales"
LANGUAGES = {"en": "English", "ar": "العربية"}
RIGHT_TO_LEFT = frozenset({"ar"})
LEFT_ISOLATE, RIGHT_ISOLATE, FIRST_STRONG_ISOLATE, END_ISOLATE = "\u2066", "\u2067", "\u2068", "\u2069"

Blank = str | int | float


def message(words: str) -> str:
    """Return `words` unchanged: marks a sentence for translation where it is defined, not where it is shown.

    >>> message("Average linkage")
    'Average linkage'
    """
    return words


@lru_cache(maxsize=len(LANGUAGES))
def _translations(language: str) -> NullTranslations:
    """The catalogues of one language as one; a sentence that is in none is shown in English."""
    paths = sorted((LOCALES / language / "LC_MESSAGES").glob("*.po"))
    if not paths:
        return NullTranslations()
    whole, compiled = Catalog(locale=language), io.BytesIO()
    for path in paths:
        with path.open("rb") as file:
            for entry in read_po(file, locale=language):
                whole[entry.id] = entry
    write_mo(compiled, whole)
    compiled.seek(0)
    return GNUTranslations(compiled)


class Text:
    """The words of one language; two of the same language are equal.

    >>> Text("en")("Block {name} has {n} channels", name="3a", n=256)
    'Block 3a has 256 channels'
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise KeyError(language)
        self.language = language
        self._translations = _translations(language)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and other.language == self.language

    def __hash__(self) -> int:
        return hash(self.language)

    @property
    def direction(self) -> str:
        """ "rtl" or "ltr"."""
        return "rtl" if self.language in RIGHT_TO_LEFT else "ltr"

    def __call__(self, words: str, **blanks: Blank) -> str:
        """The translated sentence with its blanks filled in, each isolated from the direction of the text around it."""
        return self._fill(self._translations.gettext(words), blanks)

    def plural(self, one: str, many: str, n: int, **blanks: Blank) -> str:
        """The sentence in the form that `n` asks for (Arabic has six); `n` itself is a blank too."""
        return self._fill(self._translations.ngettext(one, many, n), {"n": n} | blanks)

    def isolated(self, piece: Blank) -> str:
        """`piece` set apart from the text around it, so that "1x1" or a file name is not reordered; unchanged in left-to-right languages."""
        if self.direction == "ltr":
            return str(piece)
        words = isinstance(piece, str) and any(character.isalpha() for character in piece)  # "-7.9" as words would end with its sign
        filled = END_ISOLATE in str(piece)  # a sentence of this language: "first strong" would look past all of its blanks
        opening = LEFT_ISOLATE if not words else RIGHT_ISOLATE if filled else FIRST_STRONG_ISOLATE
        return f"{opening}{piece}{END_ISOLATE}"

    def _fill(self, words: str, blanks: dict[str, Blank]) -> str:
        return words.format(**{name: self.isolated(piece) for name, piece in blanks.items()}) if blanks else words
