"""Debian's Chromium, driven by Playwright. A test fails on a console error and on a request to another server."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, Request, expect, sync_playwright

from tests.browser.scripted_site import Site, site

_PATIENCE = 30_000  # ms until a test that hangs fails instead
_QUIET = [  # switches off the browser's own requests
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="package")
def tab() -> Iterator[Page]:
    """One browser for all tests here: starting it takes longer than most tests. It ends before others need a loop."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        opened = browser.new_page()
        opened.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        # No report draws its charts ahead: only those that a test scrolls to. That is half of the time.
        opened.add_init_script("window.requestIdleCallback = () => 0")
        yield opened
        browser.close()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """A tab with the size of a laptop and light colours. It may load only from the origin of its page."""
    urls: list[str] = []
    complaints: list[str] = []

    def asked(request: Request) -> None:
        urls.append(request.url)

    def said(message: ConsoleMessage) -> None:
        # The browser itself reports responses that were cut or refused, which some tests want.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def failed(error: Error) -> None:
        complaints.append(str(error))

    tab.goto("about:blank")
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
    tab.on("request", asked)
    tab.on("console", said)
    tab.on("pageerror", failed)
    yield tab
    tab.remove_listener("request", asked)
    tab.remove_listener("console", said)
    tab.remove_listener("pageerror", failed)
    assert complaints == []
    home = "/".join(tab.url.split("/", 3)[:3])
    assert [url for url in urls if not url.startswith(f"{home}/")] == []


@pytest.fixture
def hosted() -> Iterator[Site]:
    with site() as served:
        served.files["/blank"] = ("text/html; charset=utf-8", b"<!doctype html><title>blank</title>")
        yield served
