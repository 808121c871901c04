"""Every sentence that a visitor may read exists in every language, with the same blanks."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from inception_viz.text import LANGUAGES, LOCALES, Text

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py")), *sorted((ROOT / "inception_viz").rglob("*.py"))]
OTHERS = [language for language in LANGUAGES if language != "en"]
Sentence = str | tuple[str, str]


def sentences(path: Path) -> Iterator[Sentence]:
    """What a file passes literally to `text(...)`, `text.plural(...)` or `message(...)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        literals = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if isinstance(node.func, ast.Name) and node.func.id in ("text", "message") and literals:
            yield literals[0]
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "plural" and len(literals) >= 2:
            yield literals[0], literals[1]


def catalogues(language: str) -> dict[Path, Catalog]:
    files = sorted((LOCALES / language / "LC_MESSAGES").glob("*.po"))
    read = {}
    for path in files:
        with path.open("rb") as file:
            read[path] = read_po(file, locale=language, abort_invalid=True)
    return read


def blanks(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


USED = {sentence for path in SOURCES for sentence in sentences(path)}


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_nothing_else_is(language: str) -> None:
    known = {tuple(e.id) if e.pluralizable else e.id for c in catalogues(language).values() for e in c if e.id and e.string}
    assert sorted(map(str, USED - known)) == [], "not translated"
    assert sorted(map(str, known - USED)) == [], "translated, but said nowhere"


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_the_blanks(language: str) -> None:
    for path, catalogue in catalogues(language).items():
        for entry in catalogue:
            if not entry.id:
                continue
            assert not entry.fuzzy, f"{path.name}: {entry.id}"
            forms = entry.string if entry.pluralizable else [entry.string]
            wanted = blanks(entry.id[1] if entry.pluralizable else entry.id)
            for form in forms:
                missing = wanted - blanks(form) - ({"n"} if entry.pluralizable else set())
                assert missing == set(), f"{path.name}: {form}"
                assert blanks(form) <= wanted, f"{path.name}: {form}"


def test_arabic_formulas_keep_their_order() -> None:
    """ "n = 64" of a filled blank would be read as "64 = n" where the whole is not isolated."""
    for path, catalogue in catalogues("ar").items():
        for entry in catalogue:
            for form in entry.string if entry.pluralizable else [entry.string]:
                outside = re.sub("\u2066[^\u2069]*(\u2069|$)", "", form)
                assert re.search(r"[A-Za-z|] = \{", outside) is None, f"{path.name}: {form}"


def test_arabic_numbers_do_not_join_the_latin_words_before_them() -> None:
    """In "Tiny ImageNet, 50 classes" the number would be read with the name, away from what it counts."""
    for path, catalogue in catalogues("ar").items():
        for entry in catalogue:
            for form in (entry.string if entry.pluralizable else [entry.string]) if entry.id else []:
                outside = re.sub("[\u2066-\u2068][^\u2066-\u2069]*\u2069", "", re.sub(r"\{\w+\}", "\u0627", form))
                assert re.search(r"[A-Za-z][\s،]+\d", outside) is None, f"{path.name}: {form}"


@pytest.mark.parametrize("language", OTHERS)
def test_a_sentence_stands_in_one_catalogue_only(language: str) -> None:
    all_ids = [str(entry.id) for catalogue in catalogues(language).values() for entry in catalogue if entry.id]
    assert sorted({i for i in all_ids if all_ids.count(i) > 1}) == []


def test_arabic_counts_in_six_forms() -> None:
    (catalogue, *_) = catalogues("ar").values()
    assert catalogue.num_plurals == 6
    assert [catalogue.plural_expr and _form(catalogue, n) for n in (0, 1, 2, 3, 10, 11, 99, 100, 103)] == [0, 1, 2, 3, 3, 4, 4, 5, 3]


def _form(catalogue: Catalog, n: int) -> int:
    from gettext import c2py

    return c2py(catalogue.plural_expr)(n)


def test_blanks_are_isolated_in_arabic_only() -> None:
    assert Text("en")("{a}", a="1x1") == "1x1"
    assert Text("ar")("{a}", a="1x1") == "\u20681x1\u2069"
    assert Text("ar")("{a}", a=3) == "\u20663\u2069"
    assert Text("ar")("{a}", a="\u20681x1\u2069, \u2068لها\u2069") == "\u2067\u20681x1\u2069, \u2068لها\u2069\u2069"
