"""What all pages share: what was chosen on one holds on the others."""

from tests.pages.conftest import Visit


def test_a_block_chosen_on_one_page_holds_on_the_others(visit: Visit) -> None:
    at = visit("pages/correlations.py")
    assert at.get_by_key("choose block en").value == "4c"
    at.get_by_key("choose block en").set_value("3a").run()
    at.switch_page("pages/clusters.py").run()
    assert not at.exception
    assert at.get_by_key("choose block en").value == "3a"


def test_a_picture_chosen_at_the_front_door_is_the_one_that_pages_look_at(visit: Visit) -> None:
    at = visit()
    at.get_by_key("sample flower").click().run()
    at.switch_page("pages/attributions.py").run()
    assert not at.exception
    flower = at.get_by_key("choose target en").value
    assert visit("pages/attributions.py").get_by_key("choose target en").value != flower


def test_a_block_that_the_next_network_lacks_gives_way_to_the_usual_one(visit: Visit) -> None:
    at = visit("pages/correlations.py")
    at.get_by_key("choose block en").set_value("3a").run()
    chosen = at.session_state["session"]
    chosen.architecture, chosen.weights = "inception_v3", "random"
    at.switch_page("pages/activations.py").run()
    assert not at.exception
    assert at.get_by_key("choose block en").value not in ("3a", "5b")
