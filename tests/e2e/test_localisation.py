"""The true box is drawn by dragging over the picture, in a real browser, and stays when the threshold moves."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.test_main_job import settled


def drag(page: Page) -> None:
    """From a quarter to three quarters of the picture, both ways."""
    canvas = page.locator(".nsewdrag").first
    canvas.scroll_into_view_if_needed()
    place = canvas.bounding_box()
    assert place
    x, y = ([place[side] + share * place[size] for share in (0.25, 0.75)] for side, size in (("x", "width"), ("y", "height")))
    page.mouse.move(x[0], y[0])
    page.mouse.down()
    page.mouse.move(x[1], y[1], steps=6)
    page.mouse.up()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_box_is_drawn_by_dragging(visit: Visit, language: str) -> None:
    page = settled(visit(f"/localisation?lang={language}"))
    edges = page.locator("[data-testid=stForm] input")
    expect(edges.nth(3)).to_have_value("400")
    for last in (False, False, True):  # a page that still grows moves the picture away under the mouse
        drag(page)
        try:
            expect(edges.first).not_to_have_value("0", timeout=None if last else 5000)
            break
        except AssertionError:
            if last:
                raise
    for edge, wanted in zip(range(4), (150, 100, 450, 300), strict=True):  # of 600 x 400 pixels
        expect(edges.nth(edge)).to_have_value(re.compile("^(" + "|".join(str(wanted + d) for d in range(-3, 4)) + ")$"))
    kept = [edges.nth(edge).input_value() for edge in range(4)]
    settled(page)
    slider = page.locator("[data-testid=stSlider] input[type=range]").last
    before = page.url
    slider.focus()
    slider.press("ArrowUp")
    page.wait_for_url(lambda address: address != before)  # the threshold stands in it
    settled(page)
    assert [edges.nth(edge).input_value() for edge in range(4)] == kept
