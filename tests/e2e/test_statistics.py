"""Statistics over a zip of pictures in a real browser: asked first, watched, stopped, gone on with, and shown."""

from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.test_main_job import settled
from tests.test_corpus import png, zipped


def test_a_zip_is_counted_gathered_stopped_and_shown(visit: Visit) -> None:
    page = settled(visit("/statistics"))
    expect(page.get_by_test_id("stMetric").filter(has_text="Pictures (n)")).to_contain_text("6")
    page.get_by_role("tab", name="Upload").click()
    data = zipped({f"{'ab'[i % 2]}/{i:03}.png": png(i, 64) for i in range(100)})
    page.locator("input[type=file]").first.set_input_files({"name": "hundred.zip", "mimeType": "application/zip", "buffer": data})
    expect(page.get_by_text("100 files, about 1 min")).to_be_visible()
    page.get_by_role("button", name="Gather the statistics").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped before it was finished.")).to_be_visible()
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("progressbar").first).to_be_visible()
    expect(page.get_by_test_id("stMetric").filter(has_text="Pictures (n)")).to_contain_text("100", timeout=90_000)
    expect(page.get_by_text("the folder that a picture lies in").first).to_be_visible()
    expect(page.locator("[data-testid=stPlotlyChart] .main-svg").first).to_be_visible()
