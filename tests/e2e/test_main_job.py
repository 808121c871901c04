"""The main paths in a real browser: a photo in, clusters out, in both languages and both themes."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from skimage import data, io

from tests.e2e.conftest import DONE, TROUBLE, Visit


def seen(page: Page) -> Locator:
    """The picture as the network sees it, the last one on the first page."""
    return page.locator("[data-testid=stImage] img").last


def settled(page: Page) -> Page:
    page.wait_for_selector(DONE)
    expect(page.locator(TROUBLE)).to_have_count(0)
    return page


@pytest.mark.parametrize(("locale", "language", "title"), [("en-GB", "en", "What the network says"), ("ar", "ar", "ماذا تقول الشبكة")])
def test_the_first_page_answers_at_once_in_the_browsers_language(visit: Visit, locale: str, language: str, title: str) -> None:
    page = settled(visit("/", locale=locale))
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")


def test_an_uploaded_photo_reaches_the_clusters(visit: Visit, tmp_path: Path) -> None:
    photo = tmp_path / "chelsea.png"
    io.imsave(photo, data.chelsea()[:, ::-1])
    page = settled(visit("/"))
    before = seen(page).get_attribute("src") or ""
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").first.set_input_files(photo)
    expect(seen(page)).not_to_have_attribute("src", before)
    page.locator("[data-testid=stSidebar]").get_by_role("link", name="Clusters").click()
    expect(page.get_by_role("heading", name="Over the branches")).to_be_visible()
    settled(page)
    expect(page.locator("[data-testid=stMetric]").first).to_contain_text(re.compile(r"\d"))


def test_a_letter_called_a_picture_is_refused_in_words(visit: Visit, tmp_path: Path) -> None:
    letter = tmp_path / "letter.png"
    letter.write_text("Dear Sir", encoding="utf-8")
    page = settled(visit("/"))
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").first.set_input_files(letter)
    expect(page.get_by_text("This is not a picture that can be read here", exact=False)).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_click_and_a_key_on_the_graph_select_a_node(visit: Visit) -> None:
    page = settled(visit("/architecture"))
    page.locator("g.node[data-node='inception3a.branch2.1']").click()
    expect(page.get_by_role("heading", name="Node inception3a.branch2.1")).to_be_visible()
    node = page.locator("g.node[data-node='inception3a.branch3.1']")
    node.focus()
    node.press("Enter")
    expect(page.get_by_role("heading", name="Node inception3a.branch3.1")).to_be_visible()
    expect(page.get_by_text("really a 3x3 convolution", exact=False)).to_be_visible()


def test_the_language_switch_keeps_the_page_and_its_choices(visit: Visit) -> None:
    page = settled(visit("/correlations?lang=en"))
    expect(page.locator("[data-testid=stPlotlyChart]")).to_have_count(3)  # a list that opens while the page is drawn closes again
    settled(page)
    page.locator("[data-testid=stSelectbox]").first.get_by_role("combobox").click()
    page.get_by_role("option", name=re.compile("5b")).click()
    expect(page).to_have_url(re.compile("block=5b"))
    settled(page)
    page.locator("[data-testid=stSidebar]").get_by_text("العربية", exact=True).click()
    expect(page.get_by_role("heading", name="الوحدة كلها")).to_be_visible()
    expect(page).to_have_url(re.compile("lang=ar"))
    expect(page.locator("[data-testid=stSelectbox]").first.get_by_role("combobox")).to_have_value(re.compile("5b.*عدد القنوات"))


def test_two_visitors_keep_their_own_pictures(visit: Visit) -> None:
    pages = [settled(visit("/")), settled(visit("/"))]
    before = seen(pages[0]).get_attribute("src") or ""
    pages[0].get_by_role("button", name="Chelsea the cat", exact=True).click()
    pages[1].get_by_role("button", name="A flower", exact=True).click()
    for page in pages:
        expect(seen(page)).not_to_have_attribute("src", before)
    assert seen(pages[0]).get_attribute("src") != seen(pages[1]).get_attribute("src")
