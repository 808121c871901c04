"""Names made to do harm, in a real browser: nothing is run, and nothing is fetched from elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response

from benchmarks.load import Server
from inception_viz import images
from tests.e2e.conftest import DONE, Visit
from tests.hostile_names import NAMES


@pytest.fixture(scope="module")
def elements() -> Iterator[str]:
    """A server behind the same door whose page shows every name with every kind of element."""
    server = Server(script="tests/servers/elements.py", environment={"INCEPTION_VIZ_GHOST": "no"})
    yield server.address
    server.stop()


def watched(page: Page, own: str) -> tuple[list[str], list[str]]:
    """Requests to elsewhere that were let through, and dialogs that scripts opened, from now on."""
    elsewhere: list[str] = []
    opened: list[str] = []
    page.on(
        "requestfinished", lambda request: elsewhere.append(request.url) if not request.url.startswith((own, "data:", "blob:")) else None
    )
    page.on("response", lambda answer: elsewhere.append(answer.url) if not answer.url.startswith((own, "data:", "blob:")) else None)
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    return elsewhere, opened


def test_whatever_element_shows_a_name_nothing_is_run_and_nothing_fetched(elements: str, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    elsewhere, opened = watched(page, elements)
    page.goto(elements)
    page.wait_for_selector(DONE)
    page.wait_for_selector("text=the end")
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.evaluate("window.ran") is None
    assert (elsewhere, opened) == ([], [])
    context.close()


def test_hostile_names_of_uploads_are_shown_and_do_nothing(visit: Visit, server: str, tmp_path: Path) -> None:
    page = visit("/")
    elsewhere, opened = watched(page, server)
    files = [{"name": name or "nameless", "mimeType": "image/png", "buffer": b"nothing"} for name in NAMES]
    page.get_by_role("tab", name="Upload").click()
    sent: list[str] = []
    for start in range(0, len(files), 12):
        batch = files[start : start + 12]

        def all_sent(answer: Response, whole: int = start + len(batch)) -> bool:
            sent.extend([answer.url] if "/upload_file/" in answer.url and answer.request.method == "PUT" else [])
            return len(sent) == whole

        with page.expect_response(all_sent):  # while some are on their way, the page would not take the next
            page.locator("input[type=file]").first.set_input_files(batch)
        page.get_by_text(images.shown_name(batch[0]["name"])[:12], exact=False).first.wait_for()
        page.wait_for_selector(DONE)
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.evaluate("window.ran") is None
    assert (elsewhere, opened) == ([], [])
