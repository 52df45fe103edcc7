"""A page is saved in ASCII, and says the same."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from random import Random

import pytest

from streamgauge.harness.judge.store import Store
from streamgauge.reports import page
from streamgauge.reports.html import ascii_page, ascii_script
from streamgauge.reports.material import gather
from tests.support import any_streams


class _Read(HTMLParser):
    """What a browser reads: the start of each element with its attributes, and all texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.read: list[object] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.read.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.read.append(data)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ascii") / "any.db"
    any_streams.store(path, Random(1), 60)
    with Store.open(path) as store:
        return page.render(gather(store))


def test_a_page_in_ascii_says_the_same(rendered: str) -> None:
    assert not rendered.isascii()
    assert ascii_page(rendered).isascii()
    assert _Read(ascii_page(rendered)).read == _Read(rendered).read


def test_every_script_that_may_run_is_the_one_that_the_page_allows(rendered: str) -> None:
    text = ascii_page(rendered)
    scripts = re.findall(r'<script(?: type="text/plain" id="bundle")?>(.*?)</script>', text, re.DOTALL)
    assert len(scripts) > 2
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text.partition("<style>")[0]


def test_a_script_has_escapes_in_place_of_other_characters() -> None:
    assert ascii_script('a = "…é"') == 'a = "\\u2026\\u00e9"'
