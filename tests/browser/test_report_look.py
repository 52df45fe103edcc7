"""What a report looks like: on a phone, in light and in the dark."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from streamgauge.reports.html import finished
from tests.browser.charts import open_whole
from tests.browser.pixels import Colour, colours
from tests.browser.window import resize
from tests.support.record import observation
from tests.support.report_page import mixed, rendered

SMALLEST = 11  # px: smaller type is hard to read on a phone
VISIBLE = 3  # the contrast that WCAG 2.1 asks of what is no text, success criterion 1.4.11
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
STALLED = 1  # the number of a stream that says 1.1 s of text, and nothing then until 4 s


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    stalled = observation([("text", 1_000), ("text", 1_100), ("text", 4_000)])
    longer = observation([("text", 1_200), ("text", 6_000)])
    html, _ = rendered(folder / "run.db", [*[stalled] * 10, longer, *mixed()], "p95(ttft) < 400ms", "error_rate < 50%")
    made = folder / "page.html"
    made.write_text(finished(html))
    return made


@pytest.fixture
def phone(page: Page, path: Path) -> Page:
    resize(page, 390, 844)
    page.goto(path.as_uri())
    return page


@pytest.fixture
def whole(page: Page, path: Path) -> Page:
    """On a phone, too."""
    resize(page, 390, 844)
    open_whole(page, path)
    return page


_SIZES = """() => [...document.querySelectorAll("svg text")].filter((text) => text.textContent.trim()).map((text) => {
  const { a, b } = text.getScreenCTM();
  return [parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b), text.textContent];
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_type_in_all_charts_can_be_read(whole: Page, width: int) -> None:
    resize(whole, width, 844)
    sizes = whole.evaluate(_SIZES)
    assert len(sizes) > 100
    assert [each for each in sizes if each[0] < SMALLEST] == []
    legend = whole.locator(".chart .legendtext")
    assert legend.count() > 10
    assert legend.evaluate_all("(all) => all.every((text) => text.checkVisibility())")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_table_that_goes_on_beyond_its_edge_shows_it(whole: Page, scheme: Literal["light", "dark"]) -> None:
    whole.emulate_media(color_scheme=scheme)
    table = whole.get_by_role("region", name="Percentiles of all streams")
    table.scroll_into_view_if_needed()

    def at_its_right_edge() -> tuple[Colour, Colour]:
        """Of the edge, and of the same height a little further in."""
        box = table.bounding_box()
        assert box is not None
        right, top = box["x"] + box["width"], box["y"] + 30  # between the caption and the head's texts
        edge, inside = colours(whole, [(right - 2, top), (right - 30, top)])
        return edge, inside

    edge, paper = at_its_right_edge()
    assert edge.contrast(paper) > 1.5, "there is more to the right"
    table.focus()
    whole.keyboard.press("ArrowRight")
    whole.wait_for_function("() => document.activeElement.scrollLeft > 0")
    table.evaluate("(table) => table.scrollTo({ left: table.scrollWidth, behavior: 'instant' })")
    edge, paper = at_its_right_edge()
    assert edge == paper, "this is the end"


# Places in the row of a stream: in its first wait, in the frame and in the middle of what streams, in the reader's
# wait, and where it has ended.
_PLACES = """(id) => {
  const row = document.getElementById(`stream=${id}`).querySelector(".row");
  const place = (name) => row.querySelector(name).getBoundingClientRect();
  const [first, streaming, wait] = [".first", ".streaming", ".wait"].map(place);
  const { top, height } = row.getBoundingClientRect();
  const middle = top + height / 2, reading = wait.left - 6;
  return [[first.left + first.width / 2, middle], [reading, Math.ceil(top)], [reading, middle],
          [wait.left + wait.width / 2, middle], [streaming.right + 8, middle]];
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_parts_of_a_stream_stand_out_from_each_other(whole: Page, scheme: Literal["light", "dark"]) -> None:
    whole.emulate_media(color_scheme=scheme)
    resize(whole, 1280, 800)
    whole.locator(f"[id='stream={STALLED}'] .row").scroll_into_view_if_needed()
    first, frame, streaming, wait, ended = colours(whole, whole.evaluate(_PLACES, STALLED))
    assert first.contrast(streaming) >= VISIBLE
    assert frame.contrast(ended) >= VISIBLE
    assert frame.contrast(streaming) >= VISIBLE
    assert wait.contrast(streaming) >= VISIBLE


def test_nothing_in_the_first_chart_covers_its_lines(phone: Page) -> None:
    """The name of a limit is beside the chart: inside, it covered a peak."""
    expect(phone.locator(".keys .limit")).to_have_text("limit of P95: 400 ms")
    assert [text for text in phone.locator(".course text").all_text_contents() if "limit" in text] == []


def test_a_phones_first_screen_has_the_verdict_the_figures_and_what_to_try(phone: Page) -> None:
    for part in ("h1", ".facts", ".pointers"):
        expect(phone.locator(part).first).to_be_in_viewport(ratio=1)


_BROKEN = """() => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walk.nextNode());) {
    if (text.parentElement.closest("script, template, svg, select") || !text.parentElement.checkVisibility()) continue;
    for (const { 0: whole, index } of text.data.matchAll(/\\d (?:%|ms|s)(?!\\w)|--[a-z]+/g)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + whole.length);
      if (new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1) found.push(text.data);
      window.looked = (window.looked || 0) + 1;
    }
  }
  return found;
}"""


def test_no_line_ends_before_a_unit(whole: Page) -> None:
    for width in (360, 390, 430, 1280):
        resize(whole, width, 844)
        assert whole.evaluate(_BROKEN) == []
    assert whole.evaluate("window.looked") > 200


def test_a_phone_shows_who_has_it_worst_on_its_first_two_screens(phone: Page) -> None:
    bars = phone.locator(".answers .group-bars")
    box = bars.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 2 * 844
    expect(bars.locator("dt")).to_have_text(["none", "slow_4g", "Reader", "Commuter"])
    resize(phone, 1280, 800)
    expect(bars).to_be_hidden()  # the chart of the panel is near


def test_the_replay_shows_half_of_an_answer_until_it_is_played(phone: Page) -> None:
    screen = phone.locator(".replay .screen").first
    assert 0 < screen.locator(".came").count() < screen.locator("span").count()
    expect(phone.locator(".replay output")).not_to_have_text("0.0 s")


def test_with_less_motion_the_replay_shows_its_end(page: Page, path: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(path.as_uri())
    blocks = page.locator(".replay .screen span")
    assert page.locator(".replay .screen .came").count() == blocks.count() > 0
    expect(page.locator(".replay .at").first).to_contain_text("the last words came after")
