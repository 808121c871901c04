"""A picture of every page of the running app for README.md, and a figure of every claim of Section 3: `python scripts/screenshots.py ADDRESS [--language ar]`.

Start the app first (`make run`), on a machine that does nothing else: figures hold times. Pictures go to assets/screenshots/ as WebP, below 150 kB each.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from pages.shell.frame import PAGES  # noqa: E402

# A figure a claim: where it is, and the how manyth of its page; what is asked for by a button is asked for.
FIGURES = {
    "figure-size": ("cost?panel=width", 0),
    "figure-reductions": ("cost?panel=blocks", 0),
    "figure-waste": ("waste?panel=channels", 0),
    "figure-overfitting": ("overfitting?panel=labels", 0),
    "figure-sparse": ("sparsity?panel=product", 0),
    "figure-blocks": ("sparsity?panel=blocks", 0),
    "figure-connections": ("connections?", 1),
    "figure-coincidence": ("coincidence?", 0),
}
FOLDER = ROOT / "assets" / "screenshots"
DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
PATIENCE = 180_000  # milliseconds
WIDTH, HEIGHT, SHOWN, MOST_BYTES = 1360, 1020, 960, 150_000


def drawn(page: Page) -> None:
    """Wait until the page has been drawn and nothing grey stands for what is still to come."""
    page.wait_for_selector(DONE)
    page.wait_for_function("![...document.querySelectorAll('[data-testid=stSkeleton]')].some(grey => grey.offsetParent)")
    page.wait_for_function("document.fonts.ready.then(() => true)")
    page.wait_for_timeout(800)  # plotly's own drawing
    page.wait_for_selector(DONE)


def packed(png: bytes) -> bytes:
    """The picture as WebP, `SHOWN` pixels wide, in the best quality that fits."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.resize((SHOWN, round(picture.height * SHOWN / picture.width)), Image.Resampling.LANCZOS)
    for quality in (88, 80, 70, 60, 45):
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if len(out.getvalue()) < MOST_BYTES:
            break
    return out.getvalue()


def figure(page: Page, number: int) -> bytes:
    """The PNG of one figure, measured first where a button waits for that."""
    ask = page.locator("[data-testid=stMain] [data-testid=stBaseButton-primary]")
    if ask.count():
        ask.first.click()
        page.locator("[data-testid=stPlotlyChart]").first.wait_for()
        drawn(page)
    page.mouse.move(0, 0)  # over a figure its buttons show
    return page.locator("[data-testid=stPlotlyChart]").nth(number).screenshot()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8501")
    parser.add_argument("--language", default="en")
    parser.add_argument("--theme", default="light", choices=["light", "dark"])
    parser.add_argument("--picture", default="coffee")
    parser.add_argument("--pages", nargs="*", default=[*PAGES, *FIGURES])
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    suffix = "" if (arguments.language, arguments.theme) == ("en", "light") else f"-{arguments.language}-{arguments.theme}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser_path = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        for word in arguments.pages:
            context = browser.new_context(bypass_csp=True, color_scheme=arguments.theme, viewport={"width": WIDTH, "height": HEIGHT})
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            path, number = FIGURES.get(word, ("?" if word == "home" else f"{word}?", None))
            page.goto(f"{arguments.address}/{path}&lang={arguments.language}&picture={arguments.picture}")
            drawn(page)
            data = packed(page.screenshot() if number is None else figure(page, number))
            (arguments.out / f"{word}{suffix}.webp").write_bytes(data)
            print(f"{word}{suffix}.webp: {len(data) / 1000:.0f} kB")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
