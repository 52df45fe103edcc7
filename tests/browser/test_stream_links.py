"""Links to single streams in a report, and its replay, whatever the address and the database hold."""

from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from streamgauge.harness.record import arrivals
from tests.browser.scripted_site import Site
from tests.support.record import observation, ttfts
from tests.support.report_page import rendered


def test_no_address_and_no_answer_keeps_the_replay_from_working(page: Page, hosted: Site, tmp_path: Path) -> None:
    endless = observation([("text", 100), ("text", 900)], arrivals=_of_characters(2**39))
    html, _ = rendered(tmp_path / "run.db", [*ttfts([200, 300]), endless])
    hosted.files["/report"] = ("text/html; charset=utf-8", html.encode())
    for odd in ("#stream=%", "#stream=999", "#%00", "#stream"):
        page.goto(f"{hosted.url}/report{odd}")  # the page is loaded once: its other addresses differ behind the `#`
        expect(page.locator(".replay .play")).to_be_visible()
        expect(page.locator("details.stream[open]")).to_have_count(0)
    page.goto("about:blank")
    page.goto(f"{hosted.url}/report#stream%3D3")
    opened = page.locator("details.stream[open]")
    expect(opened).to_have_count(1)
    opened.get_by_role("button", name="Replay it beside the others").click()
    expect(page.locator(".picked .at")).to_have_text("waiting for the first token")
    assert page.locator(".picked .screen span").count() <= 3_000


def _of_characters(most: int) -> bytes:
    """The blob of a stream with two chunks of so many characters."""
    at = np.array([100_000, 900_000])
    many = np.full(2, most)
    nothing = np.full(2, arrivals.NOT_HANDED)
    return arrivals.pack(arrivals.Columns(at, np.zeros(2, np.uint8), many, many, at, nothing))
