"""Best examples on the pages: one gesture shows them among the samples, with value, name and an alternative text."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz import examples, images
from inception_viz.text import LANGUAGES, Text
from pages.shell import examples as shell
from tests.pages.conftest import Visit, told
from tests.test_statistics import small

PAGE = "pages/clusters.py"


@pytest.fixture(autouse=True)
def _looking_at_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network, for the pictures are not what is tested here."""
    monkeypatch.setattr("pages.shell.results._load", lambda *arguments: small())


def tiles(at: AppTest) -> list[tuple[str, str]]:
    """Caption and alternative text of every picture of the page."""
    return [(image.caption, image.alt) for block in at.get("image") for image in block.proto.imgs]


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_gesture_shows_the_patches_of_the_samples(visit: Visit, language: str) -> None:
    text = Text(language)
    at = visit(PAGE, language)
    assert text(shell.EMPTY) in told(at)
    assert tiles(at) == []
    at.get_by_key(f"choose among {language}").set_value("samples").run()
    assert not at.exception
    assert text(shell.EMPTY) not in told(at)
    assert text.plural("The best of {n} picture.", "The best of {n} pictures.", len(images.samples())) in told(at)
    assert text(shell.TITLES[examples.EXCITES]) in told(at)
    found = tiles(at)
    assert 2 <= len(found) <= 2 * len(images.samples())
    names = [text(sample.title) for sample in images.samples().values()]
    for caption, alt in found:
        assert any(name in caption and name in alt for name in names)
        assert re.search(r"\d", caption)
