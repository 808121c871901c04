"""The graph of flows in a real browser: a click and keys lead from cluster to cluster, and the keyboard keeps its place."""

from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.test_main_job import settled


def test_a_click_and_keys_follow_the_flow(visit: Visit) -> None:
    page = settled(visit("/flows"))
    page.locator("g.node[data-node='5b/1']").click()
    expect(page.get_by_role("heading", name="cluster 1 of block 5b")).to_be_visible()
    node = page.locator("g.node[data-node='5a/2']")
    node.focus()
    node.press("Enter")
    expect(page.get_by_role("heading", name="cluster 2 of block 5a")).to_be_visible()
    expect(node).to_have_attribute("aria-pressed", "true")  # the drawing was made anew
    expect(node).to_be_focused()
    expect(page.locator("[data-testid=stPlotlyChart] .main-svg").first).to_be_visible()
    settled(page)
