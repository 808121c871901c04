"""In a real browser: a block is edited, and its cost follows."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import DONE, Visit


def test_a_block_is_edited_and_its_cost_follows(visit: Visit) -> None:
    page = visit("/cost?lang=ar", locale="ar")
    page.get_by_text("وحدة من تصميمك", exact=True).click()
    costs = page.get_by_test_id("stMetricValue")
    expect(costs.nth(1)).to_have_text(re.compile(r"73\.6 M"), timeout=60_000)
    page.wait_for_selector(DONE)
    width = page.get_by_label("3x3", exact=True)
    width.fill("104")
    width.press("Enter")
    expect(costs.nth(1)).to_have_text(re.compile(r"56\.0 M"), timeout=60_000)
    expect(costs.last).to_have_text(re.compile("408"))
