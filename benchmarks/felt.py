"""What a person feels: from the address to a drawn page on a warm server, and from a click on a block that is in memory to its figures."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.load import photo
from tests.e2e.conftest import CHROMIUM, DONE, QUIET, ROOT, free_port, healthy

PAGES = ("", "architecture", "activations", "correlations", "clusters", "attributions")
SWITCHED = ("activations", "correlations", "clusters")
REPEATS = 5
WARM = 120  # seconds for the server to load the network


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def opened(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds to the title, and to the end of the run, for somebody who comes for the first time."""
    context = browser.new_context()
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address)
    page.locator("h1").wait_for()
    title = time.perf_counter() - started
    page.wait_for_selector(DONE)
    whole = time.perf_counter() - started
    context.close()
    return title, whole


def switched(page: Page, block: str) -> float:
    """Seconds from the click on a block to the end of the run that draws it."""
    page.get_by_role("combobox", name=re.compile("Block")).first.click()
    option = page.get_by_role("option", name=re.compile(f"^{block}"))
    option.wait_for()

    def click() -> None:
        option.click()
        page.wait_for_function("block => new URLSearchParams(location.search).get('block') === block", arg=block)
        page.wait_for_selector(DONE)

    return timed(click)


def walked(browser: Browser, address: str, photo: Path) -> float:
    """Seconds of a new visitor's walk without any thinking: the first page, an upload, “Clusters”, until the cluster map stands there."""
    context = browser.new_context()
    page = context.new_page()

    def walk() -> None:
        page.goto(address)
        page.get_by_role("tab", name="Upload").click()
        page.locator("input[type=file]").first.set_input_files(photo)
        page.locator(f"[data-testid=stFileUploader] >> text={photo.name}").wait_for()
        page.wait_for_selector(DONE)
        page.locator("[data-testid=stSidebar]").get_by_role("link", name="Clusters").click()
        page.locator("h1", has_text="Clusters").wait_for()
        page.locator(".js-plotly-plot .hm, .js-plotly-plot .im").first.wait_for()
        page.wait_for_selector(DONE)

    seconds = timed(walk)
    context.close()
    return seconds


def measure(browser: Browser, address: str) -> None:
    for word in PAGES:
        opened(browser, f"{address}/{word}")  # warm
        titles, wholes = zip(*(opened(browser, f"{address}/{word}") for _ in range(REPEATS)), strict=True)
        print(
            f"  {word or 'home':13} title after {1e3 * statistics.median(titles):5.0f} ms, drawn after {1e3 * statistics.median(wholes):5.0f} ms, "
            f"worst {1e3 * max(wholes):5.0f} ms, n = {REPEATS}, empty browser cache"
        )
    for word in SWITCHED:
        page = browser.new_page()
        page.goto(f"{address}/{word}?block=3a")
        page.wait_for_selector(DONE)
        switched(page, "4c")
        switched(page, "3a")
        seconds = [switched(page, block) for block in ("4c", "3a") * 3]
        print(
            f"  {word:13} block switch {1e3 * statistics.median(seconds):5.0f} ms, worst {1e3 * max(seconds):5.0f} ms, n = {len(seconds)}"
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


def main() -> None:
    port, log = free_port(), Path(tempfile.mkstemp()[1])
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", "--server.port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
    started = time.monotonic()
    address, deadline = f"http://127.0.0.1:{port}", started + WARM
    try:
        while not healthy(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text(encoding="utf-8"))
            time.sleep(0.2)
        print(f"  ready {time.monotonic() - started:.1f} s after it was started")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            measure(browser, address)
            browser.close()
    finally:
        server.terminate()
        server.wait(15)
        log.unlink()
