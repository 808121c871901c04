"""Best examples on the pages: one gesture shows them among the samples, with value, name and an alternative text."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz import corpus, examples, images, sealed, statistics
from inception_viz.text import LANGUAGES, Text
from pages.shell import examples as shell
from tests.pages.conftest import Visit, told
from tests.test_corpus import zipped
from tests.test_statistics import PLAN, files, finish, small

CLUSTERS, STATISTICS = "pages/clusters.py", "pages/statistics.py"


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
    at = visit(CLUSTERS, language)
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


def test_a_channel_of_the_cluster_can_be_chosen(visit: Visit) -> None:
    at = visit(CLUSTERS, among="samples")
    before = tiles(at)
    box = next(b for b in at.selectbox if b.label == "What is excited")
    box.select_index(1).run()
    assert not at.exception
    assert tiles(at) != before


def test_ones_own_pictures_are_looked_among_where_there_are_several(visit: Visit) -> None:
    at = visit(CLUSTERS)
    assert at.get_by_key("choose among en").options == ["nowhere yet", "the 6 sample pictures"]
    at.session_state["session"].show([images.decode(data, f"mine {i}.png") for i, (_, data) in enumerate(files(4))])
    at.run()
    assert at.get_by_key("choose among en").options == ["nowhere yet", "the 4 pictures at hand", "the 6 sample pictures"]
    at.get_by_key("choose among en").set_value("own").run()
    assert "The best of 4 pictures." in told(at)
    assert tiles(at)
    assert all("mine " in caption for caption, _ in tiles(at))


def test_the_statistics_page_collects_and_the_clusters_page_shows_it(visit: Visit) -> None:
    language = "ar"
    text = Text(language)
    at = visit(STATISTICS, language)
    at.get_by_key("statistics uploads").set_value([("good.zip", zipped(dict(files(12))), "application/zip")]).run()
    assert text(shell.COST) in told(at)
    next(b for b in at.button if b.label == text("Collect the best examples")).click().run()
    assert not at.exception
    assert text(shell.COST) not in told(at)
    assert text.plural("The best of {n} picture.", "The best of {n} pictures.", 12) in told(at)
    assert any(text("class “{name}”", name="b") in caption for caption, _ in tiles(at))
    at.switch_page(CLUSTERS).run()
    among = at.get_by_key(f"choose among {language}")
    assert among.options[-2:] == [text("the {n} files of the Statistics page", n=12), text("what the Statistics page has collected")]
    among.set_value("kept").run()
    assert not at.exception
    assert tiles(at)
    kept = tiles(at)
    at.get_by_key(f"choose among {language}").set_value("run").run()
    assert not at.exception
    assert tiles(at)
    assert tiles(at) != kept  # another clustering: that of the picture on show


def test_a_file_with_examples_shows_them_without_its_pictures(visit: Visit) -> None:
    run = statistics.Run(small(), corpus.listed("mine", files(9)), PLAN)
    found = finish(statistics.gather(run))
    second = statistics.second_pass(run, statistics.clusterings(found))
    both = statistics.with_examples(found, finish(statistics.gather_examples(second, {"method": "louvain", "count": None})))
    at = visit(STATISTICS)
    for file, there in ((found, False), (both, True)):
        data = sealed.packed(file.arrays, file.card)
        at.get_by_key("statistics saved").set_value(("s.npz", data, "application/octet-stream")).run()
        assert not at.exception
        assert ("This file holds no best examples" in told(at)) != there
        assert bool(tiles(at)) == there
    box = next(b for b in at.selectbox if b.label == "Cluster or channel")
    before = tiles(at)
    box.select_index(len(box.options) - 1).run()
    assert not at.exception
    assert tiles(at) != before
