"""What a person meets: nobody is shut out by a page, a link opens what it was copied from, a phone shows it all, and nothing comes from outside."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from inception_viz.lessons import LESSONS
from inception_viz.text import Text
from pages.shell.frame import PAGES
from tests.e2e.conftest import DONE, PATIENCE, SCREEN, TROUBLE, Visit

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
ASK = "async (rules) => (await axe.run(document, {resultTypes: ['violations'], ...(rules && {runOnly: rules})})).violations"
GRAVE = ("serious", "critical")
CHART = "[data-testid=stPlotlyChart] .main-svg"
DRAWN = {"architecture": "svg .node", "activations": CHART, "correlations": CHART, "clusters": CHART, "attributions": CHART}


def settled(page: Page) -> Page:
    page.wait_for_selector(DONE)
    page.locator("h1").wait_for()
    page.locator("[data-testid=stSidebar] a").first.wait_for(state="attached")
    page.wait_for_selector(DONE)
    return page


def themed(page: Page, theme: str) -> None:
    """As a system in this theme shows the page, to its end: axe-core looks at no colour below the window's edge."""
    page.emulate_media(color_scheme=theme)
    expect(page.locator("[data-testid=stApp]")).to_have_css("color-scheme", theme)
    page.set_viewport_size({"width": 1280, "height": page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")})


def grave(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe-core finds to shut people out, each with the piece of the page.

    It takes joined Arabic letters for icons and judges their colours only where a number stands in the line: English pages show the same colours.
    """
    found = [v for v in page.evaluate(ASK, rules) if v["impact"] in GRAVE]
    return [f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]]


@pytest.fixture(scope="module")
def tab(browser: Browser, server: str) -> Iterator[tuple[Page, list[str]]]:
    """One tab for all pages, and what it asked of others than the server.

    To go to an address is a new visit for the server, but does not start a browser's window anew.
    """
    context = browser.new_context(**SCREEN)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    own = (server, server.replace("http", "ws", 1), "data:", "blob:")
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith(own) else None)
    yield page, elsewhere
    context.close()


@pytest.mark.parametrize("word", list(PAGES))
def test_a_page_opens_by_its_own_address_and_shuts_nobody_out_in_either_language_or_theme(
    tab: tuple[Page, list[str]], server: str, word: str
) -> None:
    page, elsewhere = tab
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(SCREEN["viewport"])
    page.goto(f"{server}/{'' if word == 'home' else word}?lang=ar")
    settled(page)
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator(TROUBLE)).to_have_count(0)
    if word in DRAWN:
        expect(page.locator(DRAWN[word]).first).to_be_visible()
    themed(page, "dark")
    page.evaluate(AXE)
    assert grave(page) == []
    themed(page, "light")
    assert grave(page, ["color-contrast"]) == []
    page.locator("[data-testid=stSidebar]").get_by_text("English", exact=True).click()
    expect(page.locator("html")).to_have_attribute("dir", "ltr")
    settled(page)
    expect(page.locator(TROUBLE)).to_have_count(0)
    themed(page, "light")
    assert grave(page) == []
    themed(page, "dark")
    assert grave(page, ["color-contrast"]) == []
    assert elsewhere == []


def test_a_copied_link_opens_the_same_view_for_somebody_else(visit: Visit) -> None:
    page = settled(visit("/clusters?block=5b&picture=flower&lang=ar", theme="dark"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="انسخ رابط هذا العرض").click()
    expect(page.get_by_text("نُسخ", exact=True)).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    other = settled(visit(re.sub(r"^http://[^/]+", "", copied), theme="light"))
    expect(other.locator("html")).to_have_attribute("lang", "ar")
    expect(other.get_by_role("combobox").first).to_have_value(re.compile("5b"))
    expect(other.locator("[data-testid=stApp]")).to_have_css("color-scheme", "dark")
    assert other.url == copied


def test_the_browsers_back_returns_to_the_page_before_not_to_the_choice_before(visit: Visit) -> None:
    page = settled(visit("/correlations?lang=en"))
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name=re.compile("5b")).click()
    expect(page).to_have_url(re.compile("block=5b"))
    page.locator("[data-testid=stSidebar]").get_by_role("link", name="Clusters").click()
    expect(page.locator("h1")).to_have_text("Clusters")
    settled(page)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Correlations")
    settled(page)
    expect(page).to_have_url(re.compile("/correlations.*block=5b"))


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_keyboard_comes_to_the_content_by_its_first_key(visit: Visit, language: str) -> None:
    page = settled(visit(f"/glossary?lang={language}"))
    page.keyboard.press("Tab")
    skip = page.locator("[data-testid=stSkipToContent]")
    expect(skip).to_be_focused()
    expect(skip).to_have_text(Text(language)("Skip to the page’s content"))
    page.keyboard.press("Enter")
    expect(page.locator("[data-testid=stMain]")).to_be_focused()


def test_a_table_of_an_arabic_page_begins_at_the_right(visit: Visit) -> None:
    page = settled(visit("/glossary?lang=ar"))
    for cell in page.locator("[data-testid=stTable] :is(th, td)").all()[:6]:
        expect(cell).to_have_css("text-align", "start")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_knob_of_a_switch_stays_on_its_track(visit: Visit, language: str) -> None:
    """Off it lies where reading begins, on where it ends."""
    sides = """() => {  // nothing while it is not there yet, or still slides
      const [track, knob] = ["", " > div"].map(inside => document.querySelector(`[data-testid=stCheckbox] label > div:not([data-testid])${inside}`));
      if (!knob || knob.getAnimations().length) return null;
      const [outer, inner] = [track, knob].map(e => e.getBoundingClientRect());
      return [inner.left - outer.left, outer.right - inner.right];
    }"""
    for view, on in (("", False), ("&view=presenter", True)):
        page = settled(visit(f"/glossary?lang={language}{view}"))
        left, right = page.wait_for_function(sides).json_value()
        assert min(left, right) >= 0
        assert (left > right) == (on == (language == "en"))


def test_words_in_figures_are_read_from_the_right_with_their_number_to_the_left(visit: Visit) -> None:
    page = settled(visit("/clusters?lang=ar"))
    places = """kind => {  // nothing while the figure is still being laid out
      const word = [...document.querySelectorAll(`.js-plotly-plot ${kind}`)].find(e => /العنقود.*2/.test(e.textContent));
      const at = word && ['د', '2'].map(letter => word.textContent.indexOf(letter));
      return at && Math.max(...at) < word.getNumberOfChars() && at.map(i => word.getStartPositionOfChar(i).x);
    }"""
    for kind in (".ytick text", ".annotation-text"):
        first, number = page.wait_for_function(places, arg=kind).json_value()
        assert number < first


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_telephone_shows_the_first_page_without_scrolling_sideways_and_in_the_fonts_that_come_along(visit: Visit, language: str) -> None:
    page = settled(visit(f"/?lang={language}", width=390, height=844))
    settled(page)
    wide = page.evaluate("[document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]")
    assert max(wide) <= 390
    fonts = page.evaluate("document.fonts.ready.then(() => [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family))")
    assert "IBM Plex Sans" in json.dumps(fonts)
    assert language == "en" or "IBM Plex Sans Arabic" in json.dumps(fonts)


def test_a_hurried_teacher_loses_no_click(visit: Visit) -> None:
    """On as soon as a step's title stands there, and by the mouse where the button was before the answer came."""
    page = settled(visit("/lessons?lang=en"))
    lessons, onward = list(LESSONS.values()), page.get_by_role("button", name="Next step")
    for lesson in lessons[:4]:
        expect(page.get_by_role("heading", name=lesson.title, exact=True)).to_be_visible()
        onward.click()
    expect(page.get_by_role("heading", name=lessons[4].title, exact=True)).to_be_visible()
    page.locator("[data-testid=stRadio]").get_by_text(lessons[4].answers[0], exact=True).click()
    answer = page.get_by_role("button", name="Show what the network says")
    expect(answer).to_be_enabled()
    place = onward.bounding_box()
    assert place is not None
    answer.click()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(page.get_by_role("heading", name=lessons[5].title, exact=True)).to_be_visible()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_class_walks_through_the_lessons_and_on_to_the_real_page(visit: Visit, language: str) -> None:
    """Every step: the answer comes after the prediction, with a number from the network; the last one leads to the page that shows it."""
    text, page = Text(language), settled(visit(f"/lessons?lang={language}&view=presenter"))
    expect(page.locator("html")).to_have_css("font-size", "20px")
    for lesson in LESSONS.values():
        expect(page.get_by_role("heading", name=text(lesson.title), exact=True)).to_be_visible()
        expect(page.locator(".st-key-reveal")).to_have_count(0)
        settled(page)
        page.locator("[data-testid=stRadio]").get_by_text(text(lesson.answers[0]), exact=True).click()
        expect(page.get_by_role("button", name=text("Show what the network says"))).to_be_enabled()
        page.get_by_role("button", name=text("Show what the network says")).click()
        expect(page.locator(".st-key-reveal h3")).to_contain_text(re.compile(r"\d"))
        if lesson is not list(LESSONS.values())[-1]:
            page.get_by_role("button", name=text("Next step")).click()
    settled(page)  # what is drawn of the answer moves the link
    shown = PAGES[next(word for word in lesson.pages if word in PAGES)]
    page.get_by_role("link", name=text("See it yourself on “{page}”", page=text(shown.title))).click()
    expect(page.locator("h1")).to_have_text(text(shown.title))
    expect(page).to_have_url(re.compile(f"lang={language}"))
