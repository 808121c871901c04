"""What a person feels: from the address to a drawn page on a warm server, and from a click on a block that is in memory to its figures."""

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.load import Server, photo
from tests.e2e.conftest import CHROMIUM, DONE, QUIET

PAGES = ("", "architecture", "activations", "correlations", "clusters", "attributions")
SWITCHED = ("activations", "correlations", "clusters")
REPEATS, SWITCHES = 5, 6


# Clocks of the browser's own: a driver's click takes a tenth of a second before it happens.
SHOWN = f"""document.querySelector("{DONE}")
  && [...document.querySelectorAll("[data-testid=stPlotlyChart]")].every(chart => chart.querySelector(".main-svg:not([data-old])"))"""
OPENING = f"""const found = window.felt = {{}};  // milliseconds from the navigation to the first frame with a title, and with all that the page shows
function look() {{
  if (!found.title && document.querySelector("h1")) found.title = performance.now();
  if (found.title && {SHOWN}) found.drawn = performance.now();
  else requestAnimationFrame(look);
}}
requestAnimationFrame(look);"""
CLICKED = f"""block => {{  // milliseconds from the next click to the first frame with new figures on all the page, and the block in its address
  const found = window.felt = {{}};
  addEventListener("click", event => {{
    for (const old of document.querySelectorAll(".main-svg")) old.dataset.old = "";
    function look() {{
      if (new URLSearchParams(location.search).get("block") === block && {SHOWN}) found.drawn = performance.now() - event.timeStamp;
      else requestAnimationFrame(look);
    }}
    requestAnimationFrame(look);
  }}, {{capture: true, once: true}});
}}"""


def felt(page: Page) -> dict[str, float]:
    """Seconds by name, once the page is drawn."""
    found = page.wait_for_function("() => window.felt && window.felt.drawn && window.felt").json_value()
    return {name: milliseconds / 1e3 for name, milliseconds in found.items()}


def opened(browser: Browser, address: str) -> tuple[float, float, float]:
    """Seconds to the title, and to all that the page shows, and megabytes of files, for somebody who comes for the first time."""
    context = browser.new_context()
    context.add_init_script(OPENING)
    page = context.new_page()
    page.goto(address)
    found = felt(page)
    came = page.evaluate("performance.getEntriesByType('resource').reduce((sum, file) => sum + file.transferSize, 0)") / 1e6
    context.close()
    return found["title"], found["drawn"], came


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


def tell(name: str, found: list[tuple[float, float, float]]) -> None:
    titles, wholes, megabytes = zip(*found, strict=True)
    print(
        f"  {name:14} title after {1e3 * statistics.median(titles):5.0f} ms, drawn after {1e3 * statistics.median(wholes):5.0f} ms, "
        f"worst {1e3 * max(wholes):5.0f} ms, n = {len(found)}, "
        f"empty browser cache, {statistics.median(megabytes):.1f} MB of files"
    )


def tell_switches(name: str, browser: Browser, address: str) -> None:
    """Between two blocks that are in memory."""
    page = browser.new_page()
    page.goto(f"{address}?block=3a")
    page.wait_for_selector(DONE)
    switched(page, "4c")
    switched(page, "3a")
    seconds = [switched(page, block) for block in ("4c", "3a") * SWITCHES]
    print(f"  {name:14} block switch {1e3 * statistics.median(seconds):5.0f} ms, worst {1e3 * max(seconds):5.0f} ms, n = {len(seconds)}")
    page.close()


def measure(browser: Browser, address: str) -> None:
    for word in PAGES:
        opened(browser, f"{address}/{word}")  # warm
        tell(word or "home", [opened(browser, f"{address}/{word}") for _ in range(REPEATS)])
    for word in SWITCHED:
        tell_switches(word, browser, f"{address}/{word}")
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for seed in range(3):
            picture = Path(folder) / f"mine-{seed}.jpg"
            picture.write_bytes(photo(seed))
            found.append(walked(browser, address, picture))
        print(
            f"  first page, upload of a photo, Clusters: {statistics.median(found):.1f} s to the cluster map, worst {max(found):.1f} s, n = {len(found)}"
        )


TITLE_ONLY = """
import streamlit as st

st.title("Nothing else")
"""
TWO_FIGURES = """
import streamlit as st

from inception_viz import clusters, images, models
from inception_viz.analysis import analyze
from inception_viz.attributions import cluster_map
from inception_viz.figures import clusters as drawing
from inception_viz.grids import grid
from inception_viz.text import Text


@st.cache_resource
def drawn(name):
    analysis, text = analyze(models.load(device="cpu"), images.decode(images.samples()["coffee"].read())), Text("en")
    block = analysis.blocks[name]
    found = clusters.find(block.correlation)
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, 12))]
    titles = [text("cluster {n}", n=k + 1) for k in range(len(maps))]
    cells = grid(block.block, len(analysis.view))
    bars = drawing.over_branches(clusters.branch_table(found, block.block), block.block, text)
    return bars, drawing.maps(analysis.view, maps, cells, titles, text)


st.title("Nothing else")
name = st.selectbox("Block", ["3a", "4c"])
st.query_params["block"] = name
for key, (column, figure) in enumerate(zip(st.columns([2, 3]), drawn(name))):
    column.plotly_chart(figure, key=f"{key} {name}")
"""


@contextmanager
def served(script: str) -> Iterator[str]:
    """The address of a server with this script and nothing of the app."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bare.py"
        path.write_text(script, encoding="utf-8")
        server = Server(script=str(path))
        try:
            yield server.address
        finally:
            server.stop()


def bare(browser: Browser) -> None:
    """What Streamlit itself takes: for a page with nothing on it but a title, and for a block with the figures of Clusters and nothing else."""
    with served(TITLE_ONLY) as address:
        opened(browser, address)  # warm
        tell("(only a title)", [opened(browser, address) for _ in range(REPEATS)])
    with served(TWO_FIGURES) as address:
        tell_switches("(two figures)", browser, address)


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
