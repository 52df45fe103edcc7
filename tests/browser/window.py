"""The browser's window."""

from playwright.sync_api import Page


def resize(page: Page, width: int, height: int = 800) -> None:
    """Give the window this size in pixels, and wait until its page is drawn at it."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("(width) => innerWidth === width", arg=width)
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
