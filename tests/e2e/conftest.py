"""A real server and a real browser: one of each for all browser tests."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
TROUBLE = "[data-testid=stException], [data-testid=stAlertContentError]"
SCREEN = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}  # nothing moves that a processor would have to draw
PATIENCE = 180_000  # milliseconds: the first visitor's page loads the network
expect.set_options(timeout=20_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server started as the README says."""
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "TORCH_HOME": str(log.parent / "empty-cache")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", "--server.port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 180  # a ghost goes to every page first
    while not healthy(address):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    yield address
    process.terminate()
    process.wait(15)
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture(scope="package")  # no longer: while it lives, an event loop runs on the thread of the tests
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(server: str, browser: Browser) -> Iterator[Visit]:
    """Open an address of the app in a fresh browser context and wait until the page is drawn."""
    contexts = []

    def open_page(path: str = "/", locale: str = "en-GB", theme: str = "light", width: int = 1280, height: int = 900) -> Page:
        context = browser.new_context(**SCREEN | {"locale": locale, "color_scheme": theme, "viewport": {"width": width, "height": height}})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(server + path)
        page.wait_for_selector(DONE)
        return page

    yield open_page
    for context in contexts:
        context.close()
