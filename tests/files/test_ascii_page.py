"""A page is saved in ASCII, with no line that ends before a unit, and says the same."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from random import Random

import pytest

from streamgauge.harness.judge.store import Store
from streamgauge.reports import page
from streamgauge.reports.html import ascii_page, ascii_script, finished, unbroken
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


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        ("<p>in 1.5 s and 0.724–1.22 s, at most 1.0 %</p>", ["1.5 s", "0.724–1.22 s", "1.0 %"]),
        ("<p>with `--processes 4`, in 1 min 15 s</p>", ["--processes", "1 min", "15 s"]),
        ("<p>12,345 ms, 3 streams, 5 MB/s, 7 min2, v1.2 s</p>", ["12,345 ms"]),
        ('<p title="5 s">one-touch, a--b, /--c &#39; s</p>', []),
        ("<title>5 s</title><style>a{b:5 s}</style><script>f(5 s)</script><svg><text>5 s</text></svg>", []),
        ('<td class="n">5 s</td><select><option>5 s</option></select>', []),
    ],
)
def test_a_number_stays_with_its_unit_and_an_option_whole(page: str, kept: list[str]) -> None:
    marked = unbroken(page)
    assert re.findall(r'<span class="whole">([^<]*)</span>', marked) == kept
    assert re.sub(r'<span class="whole">([^<]*)</span>', r"\1", marked) == page


def test_a_finished_page_says_the_same(rendered: str) -> None:
    assert "".join(_texts(finished(rendered))) == "".join(_texts(rendered))
    assert finished(rendered).isascii()
    assert 'class="whole"' in finished(rendered)


def _texts(page: str) -> list[str]:
    return [each for each in _Read(page).read if isinstance(each, str)]
