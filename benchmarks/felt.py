"""What a person feels: from the address to a drawn page on a warm server, and from a click on a block that is in memory to its figures."""

import re
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.load import Server, photo
from tests.e2e.conftest import CHROMIUM, DONE, QUIET

PAGES = ("", "architecture", "activations", "correlations", "clusters", "attributions")
SWITCHED = ("activations", "correlations", "clusters")
REPEATS = 5


# Clocks of the browser's own: a driver's click takes a tenth of a second before it happens.
SHOWN = f"""document.querySelector("{DONE}")
  && [...document.querySelectorAll("[data-testid=stPlotlyChart]")].every(chart => chart.querySelector(".main-svg"))"""
OPENING = f"""const found = window.felt = {{}};  // milliseconds from the navigation to the first frame with a title, and with all that the page shows
function look() {{
  if (!found.title && document.querySelector("h1")) found.title = performance.now();
  if (found.title && {SHOWN}) found.drawn = performance.now();
  else requestAnimationFrame(look);
}}
requestAnimationFrame(look);"""
CLICKED = f"""block => {{  // milliseconds from the next click to the first frame with all that the page shows of that block
  const found = window.felt = {{}};
  addEventListener("click", event => {{
    let begun = false;  // the address may be written before the page says that it is being drawn
    function look() {{
      begun ||= !document.querySelector("{DONE}");
      if (begun && new URLSearchParams(location.search).get("block") === block && {SHOWN}) found.drawn = performance.now() - event.timeStamp;
      else requestAnimationFrame(look);
    }}
    requestAnimationFrame(look);
  }}, {{capture: true, once: true}});
}}"""


def felt(page: Page) -> dict[str, float]:
    """Seconds by name, once the page is drawn."""
    found = page.wait_for_function("() => window.felt && window.felt.drawn && window.felt").json_value()
    return {name: milliseconds / 1e3 for name, milliseconds in found.items()}


def opened(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds to the title, and to all that the page shows, for somebody who comes for the first time."""
    context = browser.new_context()
    context.add_init_script(OPENING)
    page = context.new_page()
    page.goto(address)
    found = felt(page)
    context.close()
    return found["title"], found["drawn"]


def switched(page: Page, block: str) -> float:
    """Seconds from the click on a block to its figures."""
    page.get_by_role("combobox", name=re.compile("Block")).first.click()
    option = page.get_by_role("option", name=re.compile(f"^{block}"))
    option.wait_for()
    page.evaluate(CLICKED, block)
    option.click()
    return felt(page)["drawn"]


def walked(browser: Browser, address: str, photo: Path) -> float:
    """Seconds of a new visitor's walk without any thinking: the first page, an upload, “Clusters”, until the cluster map stands there."""
    context = browser.new_context()
    page = context.new_page()

    started = time.perf_counter()
    page.goto(address)
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").first.set_input_files(photo)
    page.locator(f"[data-testid=stFileUploader] >> text={photo.name}").wait_for()
    page.wait_for_selector(DONE)
    page.locator("[data-testid=stSidebar]").get_by_role("link", name="Clusters").click()
    page.locator("h1", has_text="Clusters").wait_for()
    page.locator(".js-plotly-plot .hm, .js-plotly-plot .im").first.wait_for()
    page.wait_for_selector(DONE)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def tell(name: str, found: list[tuple[float, float]]) -> None:
    titles, wholes = zip(*found, strict=True)
    print(
        f"  {name:14} title after {1e3 * statistics.median(titles):5.0f} ms, drawn after {1e3 * statistics.median(wholes):5.0f} ms, "
        f"worst {1e3 * max(wholes):5.0f} ms, n = {len(found)}, empty browser cache"
    )


def measure(browser: Browser, address: str) -> None:
    for word in PAGES:
        opened(browser, f"{address}/{word}")  # warm
        tell(word or "home", [opened(browser, f"{address}/{word}") for _ in range(REPEATS)])
    for word in SWITCHED:
        page = browser.new_page()
        page.goto(f"{address}/{word}?block=3a")
        page.wait_for_selector(DONE)
        switched(page, "4c")
        switched(page, "3a")
        seconds = [switched(page, block) for block in ("4c", "3a") * 3]
        print(
            f"  {word:14} block switch {1e3 * statistics.median(seconds):5.0f} ms, worst {1e3 * max(seconds):5.0f} ms, n = {len(seconds)}"
        )
        page.close()
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for seed in range(3):
            picture = Path(folder) / f"mine-{seed}.jpg"
            picture.write_bytes(photo(seed))
            found.append(walked(browser, address, picture))
        print(
            f"  first page, upload of a photo, Clusters: {statistics.median(found):.1f} s to the cluster map, worst {max(found):.1f} s, n = {len(found)}"
        )


def bare(browser: Browser) -> None:
    """What Streamlit itself takes for a page with nothing on it but a title: the floor of all others."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text('import streamlit as st\n\nst.title("Nothing else")\n', encoding="utf-8")
        server = Server(script=str(script))
        try:
            opened(browser, server.address)  # warm
            tell("(only a title)", [opened(browser, server.address) for _ in range(REPEATS)])
        finally:
            server.stop()


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        bare(browser)
        server = Server()
        print(f"  ready {server.start:.1f} s after it was started")
        try:
            measure(browser, server.address)
        finally:
            server.stop()
        browser.close()
