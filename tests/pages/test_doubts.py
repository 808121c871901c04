"""What stands beside clusters and attributions to doubt them: nulls, resamples, branches, knock-outs, checks; in both languages."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz import images, nulls
from inception_viz.knockouts import BASELINES
from inception_viz.text import LANGUAGES, Text
from pages.shell.doubts import DOUBTS
from tests.pages.conftest import Visit, told
from tests.pages.test_every_page import BOTH, figures


def choose(at: AppTest, name: str, language: str, value: object) -> AppTest:
    at.get_by_key(f"choose {name} {language}").set_value(value).run()
    assert not at.exception, at.exception[0].message
    return at


def maps(at: AppTest) -> list[dict]:
    return [trace for trace in figures(at)[1]["data"] if trace["type"] == "heatmap" and trace.get("zmin") == -1]


@BOTH
def test_the_real_stands_beside_both_nulls_on_one_scale(visit: Visit, language: str) -> None:
    at = visit("pages/correlations.py", language)
    assert "0.05" not in told(at)  # no p before a test
    choose(at, "test pairs", language, True)
    before = maps(at)
    assert len(before) == 2
    rarest = at.dataframe[-1].value
    assert list(rarest.columns[-3:]) == ["r", "p", "q"]
    assert len(rarest) == nulls.RAREST
    assert sum(trace["showscale"] is not False for trace in before) == 1
    assert "n = 64" in re.sub("[\u2066-\u2069]", "", told(at))
    choose(at, "null", language, "untrained")
    after = maps(at)
    assert after[0]["z"] == before[0]["z"]
    assert after[1]["z"] != before[1]["z"]
    assert Text(language)("untrained network") in figures(at)[2]["data"][-1]["name"]


@BOTH
@pytest.mark.parametrize("doubt", list(DOUBTS))
def test_every_doubt_is_answered_with_a_verdict_or_a_number(visit: Visit, doubt: str, language: str) -> None:
    at = visit("pages/clusters.py", language)
    choose(at, "doubt", language, doubt)
    assert len(figures(at)) == (5 if doubt == "tighter" else 3)
    said = [element.value for kind in ("success", "warning") for element in at.get(kind)] + [m.label for m in at.metric]
    assert len(said) > 5
    before = {element.value for kind in ("success", "warning") for element in at.get(kind)}
    choose(at, "cluster", language, 1)
    (verdict,) = {element.value for kind in ("success", "warning") for element in at.get(kind)} - before
    assert "2" in verdict  # what was found of the cluster on show stands beside it
    if language == "ar":
        assert not re.search(r"(?:[A-Za-z]{2,} ){3,}", " ".join(said + [c.value for c in at.caption][1:]))


def test_clusters_follow_the_transform_and_are_held_against_the_untrained_network(visit: Visit) -> None:
    at = visit("pages/clusters.py")
    before = figures(at)[0]["data"][0]["x"]
    choose(at, "transform", "en", "ranks (Spearman)")
    assert figures(at)[0]["data"][0]["x"] != before
    choose(at, "doubt", "en", "tighter")
    choose(at, "null", "en", "untrained")
    assert any(trace.get("name") == "untrained network: chance" for trace in figures(at)[2]["data"])


@BOTH
def test_knock_outs_tell_their_controls_and_their_least_p(visit: Visit, language: str) -> None:
    at = visit("pages/knockouts.py", language)
    table = at.dataframe[0].value
    assert len(table) == len(figures(at)[0]["data"][0]["y"]) / 20
    assert table["p"].min() >= 0.047
    assert "0.048" in told(at)


@pytest.mark.parametrize("baseline", list(BASELINES))
def test_every_baseline_answers(visit: Visit, baseline: str) -> None:
    at = choose(visit("pages/knockouts.py"), "block", "en", "5b")
    choose(at, "baseline", "en", baseline)
    assert not at.error
    assert len(figures(at)) == 2


def test_pairs_of_clusters_are_taken_out_on_request(visit: Visit) -> None:
    at = choose(visit("pages/knockouts.py"), "block", "en", "5b")
    choose(at, "count", "en", 3)
    at.toggle[0].set_value(True).run()
    assert not at.exception
    assert len(figures(at)) == 3
    assert "redundant" in told(at)


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_a_method_that_fails_is_marked_and_still_shown(visit: Visit, language: str) -> None:
    at = visit("pages/attributions.py", language)
    assert not [e for kind in ("success", "warning") for e in at.get(kind) if e.value.startswith(("✗", "✓"))]
    choose(at, "check method", language, True)
    marks = [element.value for kind in ("success", "warning") for element in at.get(kind)]
    assert len([mark for mark in marks if mark.startswith(("✗", "✓"))]) == 1
    assert len(figures(at)[2]["data"]) == 4


def test_all_methods_are_checked_on_request(visit: Visit) -> None:
    at = choose(visit("pages/attributions.py"), "block", "en", "5b")
    choose(at, "check method", "en", True)
    choose(at, "check every", "en", True)
    table = at.dataframe[0].value
    assert len(table) == 5
    assert set(table["Checks"].str[0]) <= {"✗", "✓"}
    assert table.set_index("Method").loc["gradient x activation", "Checks"] == "✓"  # exact after the last block
    marks = next(c.value for c in at.caption if c.value.startswith("Checked on this network"))
    assert re.findall("[✗✓]", marks) == [checks[0] for checks in table["Checks"]]


@pytest.mark.parametrize("page", ["pages/correlations.py", "pages/clusters.py"])
def test_over_several_pictures_the_null_permutes_them(visit: Visit, page: str) -> None:
    at = visit()
    names = list(images.samples())[:4]
    at.session_state["session"].pictures = [images.decode(images.samples()[name].read(), name) for name in names]
    at.switch_page(page).run()
    choose(at, "block", "en", "5b")
    choose(at, "definition", "en", "image")
    if "clusters" in page:
        choose(at, "doubt", "en", "tighter")
    assert at.get_by_key("choose null en").value == "pictures"
    assert any("permuted pictures" in str(trace.get("name")) for figure in figures(at) for trace in figure["data"])
