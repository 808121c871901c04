"""In a real browser: a step of the construction is overridden, the block follows, and its network is saved and opened again."""

from pathlib import Path

from playwright.sync_api import TimeoutError, expect

from inception_viz import descriptions
from tests.e2e.conftest import DONE, PATIENCE, Visit


def test_a_constructed_network_is_saved_and_opened_again(visit: Visit, tmp_path: Path) -> None:
    page = visit("/construction?lang=en")
    expect(page.get_by_test_id("stTable")).to_be_visible(timeout=PATIENCE)
    page.wait_for_selector(DONE)
    choice = page.get_by_role("option", name="4", exact=True)
    for _ in range(5):  # a page that is drawn anew closes what was opened
        page.get_by_label("Groups of 3x3 and 5x5").click()
        try:
            choice.click(timeout=5000)
            break
        except TimeoutError:
            page.wait_for_selector(DONE)
    groups = page.get_by_test_id("stTable").locator("tbody tr").first.locator("td").nth(7)
    expect(groups).to_have_text("4", timeout=60_000)
    page.wait_for_selector(DONE)
    with page.expect_download() as download:
        page.get_by_role("button", name="Network with this block (JSON)").click()
    saved = tmp_path / "mine.json"
    download.value.save_as(saved)
    assert 4 in {block.groups_three for block in descriptions.read(saved.read_bytes()).blocks}

    page = visit("/?lang=en")
    page.get_by_text("Network, weights and device", exact=True).click()
    page.get_by_text("Weights of your own, or ImageNet's", exact=True).click()
    page.get_by_test_id("stFileUploader").filter(has_text="described in .json").locator("input").set_input_files(saved)
    expect(page.get_by_text("constructed with the weights “mine.json”").first).to_be_visible(timeout=60_000)
