"""Debian's Chromium, driven by Playwright. A test fails on a console error and on a request to another server."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from tests.browser import charts
from tests.browser.scripted_site import PATIENCE, Site, site

_QUIET = [  # switches off the browser's own requests
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests here: starting it takes longer than most tests. It ends before others need a loop."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")  # the first computes less
    if path is None:
        pytest.skip("no chromium (Debian: chromium-headless-shell, or chromium)")
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE * 1000)
        started = playwright.chromium.launch(executable_path=path, args=_QUIET)
        yield started
        started.close()


@pytest.fixture(scope="package")
def tab(browser: Browser) -> Page:
    return _prepared(browser.new_page())


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """A tab with the size of a laptop and light colours. It may load only from the origin of its page."""
    tab.goto("about:blank")
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.emulate_media(media="null", color_scheme="light", reduced_motion="no-preference")
    with _watched(tab):
        yield tab


@pytest.fixture
def stopped(browser: Browser) -> Iterator[Page]:
    """A tab in which time stands still: timers and frames of its pages come only with `clock.run_for`.

    For what passes by itself, which a test on a busy machine would miss. The tab is the test's own, because a clock
    that Playwright has replaced stays so.
    """
    with contextlib.closing(browser.new_page()) as opened:
        opened.clock.install(time=0)
        opened.clock.pause_at(1000)
        with _watched(_prepared(opened)):
            yield opened


def _prepared(tab: Page) -> Page:
    tab.set_default_timeout(PATIENCE * 1000)
    tab.add_init_script(charts.ONLY_NEAR)
    return tab


@contextlib.contextmanager
def _watched(tab: Page) -> Iterator[None]:
    """Fails the test that ends here on a complaint in the console, and on a request to another origin."""
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

    tab.on("request", asked)
    tab.on("console", said)
    tab.on("pageerror", failed)
    yield
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
