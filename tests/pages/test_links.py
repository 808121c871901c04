"""The address opens exactly the view that it was copied from, and nothing else."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from inception_viz.text import LANGUAGES
from pages.shell import links
from tests.pages.conftest import Visit, told

VIEW = {
    "model": "googlenet", "weights": "boxed-early", "picture": "flower", "block": "5b", "definition": "spatial", "method": "average linkage",
    "count": "5", "cluster": "3", "view": "presenter",
}  # fmt: skip


def address(at: AppTest) -> dict[str, str]:
    """The parameters of the address: what a test gave stands in lists, what a page wrote does not."""
    return {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}


def ignored(at: AppTest) -> list[str]:
    """What the page says of its address."""
    return [warning.value for warning in at.warning if "address" in warning.value or "العنوان" in warning.value]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_view_is_opened_from_its_address_and_stands_in_it_again(visit: Visit, language: str) -> None:
    weights = next(w for w in links.models.choices("googlenet") if w not in ("boxed", "random"))
    asked = VIEW | {"weights": weights}
    at = visit("pages/clusters.py", language, **asked)
    chosen = at.session_state["session"]
    assert (chosen.language, chosen.weights, chosen.picture.name, chosen.presenter) == (language, weights, "flower", True)
    assert {name: chosen.choices[name] for name in ("block", "method", "count", "cluster")} == {
        "block": "5b", "method": "average linkage", "count": 5, "cluster": 3,
    }  # fmt: skip
    assert not ignored(at)
    assert address(at).items() >= (asked | {"lang": language}).items()


def test_what_is_chosen_goes_into_the_address_and_another_visitor_sees_the_same(visit: Visit) -> None:
    at = visit("pages/attributions.py")
    at.get_by_key("choose block en").set_value("3b").run()
    at.get_by_key("choose against en").select_index(3).run()
    other = visit("pages/attributions.py", **{name: value for name, value in address(at).items() if name != "lang"})
    assert told(other) == told(at)
    assert not ignored(other)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_link_that_asks_for_no_number_or_no_rival_shows_these_choices_in_words(visit: Visit, language: str) -> None:
    at, plain = (visit("pages/attributions.py", language, **asked) for asked in ({"count": "none", "against": "none"}, {}))
    for name in ("count", "against"):
        box, other = at.get_by_key(f"choose {name} {language}"), plain.get_by_key(f"choose {name} {language}")
        assert box.value == other.value is not None
        assert at.session_state["session"].choices[name] is None
    assert told(at) == told(plain)
    assert address(at).items() >= {"count": "none", "against": "none"}.items()


@pytest.mark.parametrize(
    ("name", "value"),
    [("block", "9z"), ("count", "1e9"), ("model", "alexnet"), ("weights", "../../etc/passwd"), ("picture", "<script>"), ("lang", "xx"),
     ("theme", "pink"), ("cluster", "-1")],
)  # fmt: skip
def test_what_is_not_to_be_had_is_told_and_left_alone(visit: Visit, name: str, value: str) -> None:
    at = visit("pages/clusters.py", **({"language": value} if name == "lang" else {name: value}))
    assert len(ignored(at)) == 1
    assert name in ignored(at)[0]
    assert address(at).get(name) != value
    assert "4c" in at.get_by_key("choose block en").value


def test_an_unknown_name_is_told_once_and_taken_out_of_the_address(visit: Visit) -> None:
    at = visit("pages/correlations.py", evil="1", **{"<img src=x>": "2"})
    assert "does not know: evil" in told(at)
    assert "<img" not in told(at)
    assert "evil" not in at.query_params
    at.run()
    assert not ignored(at)


def test_a_page_is_asked_once_so_that_a_later_choice_holds(visit: Visit) -> None:
    at = visit("pages/correlations.py", block="3a")
    at.get_by_key("choose block en").set_value("5a")
    at.query_params["block"] = "3a"  # what a quick second click still carries
    at.run()
    assert at.get_by_key("choose block en").value == "5a"
    assert address(at)["block"] == "5a"


def test_links_from_another_page_open_their_view_in_the_same_session(visit: Visit) -> None:
    at = visit("pages/correlations.py", block="3a")
    at.switch_page("pages/clusters.py")
    at.query_params["block"] = "4e"
    at.run()
    assert at.get_by_key("choose block en").value == "4e"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)), unique=True, max_size=6))
def test_different_choices_have_different_names_in_the_address(values: list[object]) -> None:
    different = [v for v in values if v not in ("none", "yes", "no") and not (isinstance(v, str) and v.lstrip("-").isdigit())]
    told_of = [links.identity(v) for v in different if not (v in (0, 1) and not isinstance(v, bool) and {True, False} & set(values))]
    assert len(set(told_of)) == len(told_of)


def test_the_widths_of_a_block_of_ones_own_are_in_the_address(visit: Visit) -> None:
    at = visit("pages/cost.py", panel="own")
    at.get_by_key("choose width 4a three en").set_value(300).run()
    assert address(at)["width 4a three"] == "300"
    other = visit("pages/cost.py", **{name: value for name, value in address(at).items() if name != "lang"})
    assert other.get_by_key("choose width 4a three en").value == 300
    assert not ignored(other)
    assert len(ignored(visit("pages/cost.py", **{"panel": "own", "width 4a three": "100000"}))) == 1
