"""Every page in every language: it draws what it promises, says nothing in the wrong language, and tells no number without its n."""

import itertools
import json
import re
from dataclasses import dataclass

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz.text import LANGUAGES, Text
from pages.shell import links, results
from pages.shell.frame import PAGES
from tests.pages.conftest import Visit, told

FIGURES = {
    "home": 1,
    "activations": 2,
    "correlations": 3,
    "clusters": 2,
    "attributions": 5,
    "knockouts": 2,
    "statistics": 9,
    "cost": 1,
    "waste": 2,
    "overfitting": 1,
    "sparsity": 1,
    "connections": 2,
    "coincidence": 1,
    "flows": 0,
    "comparisons": 5,
    "construction": 2,
    "topology": 2,
    "trial": 1,
    "localisation": 4,
}
BOTH = pytest.mark.parametrize("language", LANGUAGES)


def figures(at: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


@dataclass(frozen=True)
class First:
    """A page as it first comes."""

    word: str
    language: str
    at: AppTest


@pytest.fixture(scope="module", params=itertools.product(PAGES, LANGUAGES), ids="-".join)
def first(request: pytest.FixtureRequest, visit: Visit) -> First:
    """Each page in each language, opened once for all tests that only look at it."""
    word, language = request.param
    return First(word, language, visit(PAGES[word].path, language))


def test_a_page_draws_what_it_promises(first: First) -> None:
    text, page = Text(first.language), PAGES[first.word]
    said = told(first.at)
    assert first.at.title[0].value == text(page.title)
    assert text(page.what) in said
    assert text(page.attempt) in said
    assert first.language == "en" or page.what not in said
    assert len(figures(first.at)) == FIGURES.get(first.word, 0)
    assert [e.value for e in first.at.error] == []


def test_an_arabic_page_says_no_english_sentence(first: First) -> None:
    words = told(first.at).replace("Going Deeper with Convolutions", "")  # the paper's title stays as it is
    sentences = re.findall(r"(?:[A-Za-z]{2,}[ ,]+){3,}[A-Za-z]{2,}", words)
    found = [s for s in sentences if "EPYC" not in s and "Intel" not in s and "Processor" not in s]
    assert bool(found) == (first.language == "en")


def test_its_address_is_in_no_language_and_is_known_in_every_part(first: First) -> None:
    parameters = {name: value[0] if isinstance(value, list) else value for name, value in first.at.query_params.items()}
    assert [name for name in parameters if not links.known(name)] == []
    assert not any(re.search("[\u0600-\u06ff]", value) for value in parameters.values())


def test_drawn_again_it_asks_the_network_nothing(first: First) -> None:
    owner = results.engine("cpu")
    before = owner.runs
    first.at.run()
    assert not first.at.exception
    assert owner.runs == before


def test_correlations_tell_their_n_and_their_constant_channels(visit: Visit) -> None:
    at = visit("pages/correlations.py")
    assert re.search(r"n = \d+ positions", told(at))
    assert re.search(r"Constant channels.*1x1: \d+", told(at))


def test_the_order_of_the_channels_can_be_chosen(visit: Visit) -> None:
    at = visit("pages/correlations.py")
    before = figures(at)[1]
    next(box for box in at.selectbox if box.label == "Channels ordered by").select("branch").run()
    after = figures(at)[1]
    assert before["data"][3]["x"] != after["data"][3]["x"]


@pytest.mark.parametrize("transform", ["log(1 + a)", "ranks (Spearman)", "without the mean map"])
def test_activations_can_be_transformed_first(visit: Visit, transform: str) -> None:
    at = visit("pages/correlations.py")
    before = figures(at)[1]["data"][3]["z"]
    next(box for box in at.selectbox if box.label == "Activations").select(transform).run()
    assert not at.exception
    assert figures(at)[1]["data"][3]["z"] != before


def test_the_number_of_clusters_can_be_chosen(visit: Visit) -> None:
    at = visit("pages/clusters.py")
    next(box for box in at.selectbox if box.label == "Number of clusters").select(5).run()
    assert not at.exception
    assert next(m for m in at.metric if m.label == "Clusters (chosen)").value == "5"


def test_the_training_slider_changes_the_network_that_answers(visit: Visit) -> None:
    at = visit("pages/clusters.py")
    assert "boxed" in told(at)
    at.select_slider[0].set_value("boxed-untrained").run()
    assert "boxed-untrained" in told(at)
    assert not at.exception


def test_two_classes_are_set_against_each_other(visit: Visit) -> None:
    at = visit("pages/attributions.py")
    before = figures(at)[0]["data"][0]["x"]
    next(box for box in at.selectbox if box.label == "Set against").select_index(1).run()
    assert not at.exception
    assert " minus " in next(m for m in at.metric if m.label.startswith("Logit of")).label
    assert figures(at)[0]["data"][0]["x"] != before


@pytest.mark.parametrize("method", ["integrated gradients", "conductance", "grad-cam", "ablation by cluster"])
def test_every_method_answers(visit: Visit, method: str) -> None:
    at = visit("pages/attributions.py")
    next(box for box in at.selectbox if box.label == "Method").select(method).run()
    assert not at.exception
    assert [e.value for e in at.error] == []
    delta = next(m for m in at.metric if m.label == "Completeness delta, logits").value
    assert (delta == "none promised") == (method in ("grad-cam", "ablation by cluster"))


@pytest.mark.parametrize("pixels", ["integrated gradients", "saliency (SmoothGrad)", "occlusion"])
def test_every_pixel_map_is_drawn(visit: Visit, pixels: str) -> None:
    at = visit("pages/attributions.py")
    next(box for box in at.selectbox if box.label == "Pixel map").select(pixels).run()
    assert not at.exception
    assert len(figures(at)) == FIGURES["attributions"]


def test_nodes_are_coloured_by_numbers_and_all_blocks_open(visit: Visit) -> None:
    at = visit("pages/architecture.py")
    next(box for box in at.selectbox if box.label == "Colour by").select("multiply-accumulates").run()
    at.multiselect[0].set_value(["3a", "4c", "5b"]).run()
    assert not at.exception
    assert "logarithmic scale" in told(at)
