"""The charts of a report: those near the window are drawn, and the others soon after the load."""

from pathlib import Path

from playwright.sync_api import Page

_AHEAD = "?ahead"

# A script for each tab. Drawing all charts costs more than most tests, so it is left out unless a test asks for it.
ONLY_NEAR = f"""if (location.search !== "{_AHEAD}")
  addEventListener("load", (event) => event.stopImmediatePropagation());"""


def open_whole(page: Page, path: Path) -> None:
    """Open the report at `path`, and wait until all of it is laid out and each chart is drawn."""
    page.goto(path.as_uri() + _AHEAD)
    page.wait_for_function("() => !document.querySelector('.chart:not(:has(.main-svg))')")
