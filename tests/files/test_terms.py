"""Each word that a page marks opens its definition, and each definition is of a word that some page marks."""

import re

import pytest

from streamgauge.harness.monitor.status import Reader
from streamgauge.reports import status_page
from streamgauge.reports.terms import DEFINITIONS
from tests.support.command import invoke
from tests.support.monitored import EVERY, START, with_an_outage
from tests.support.record import MS, database, observation, ttfts
from tests.support.report_page import mixed, rendered

CONFIG = {
    "prices": {"input": 3.0, "output": 15.0, "currency": "EUR"},
    "reader": {"good": {"ttft": "1s", "tpot": "1s"}},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("terms")
    used = [observation(due=at * 100, input_tokens=9, output_tokens=9) for at in range(60)]
    report, _ = rendered(
        folder / "a.db", [*mixed(), *used], "p95(ttft) < 1s", "p95(itl) < 1s", config=CONFIG, measured_from=2_000 * MS
    )
    plain = database(folder / "b.db", ttfts(range(100, 200)), id="run-2")
    assert invoke("compare", folder / "a.db", plain, "-o", folder / "compared.html").exit_code in {0, 3}
    monitored = with_an_outage(folder / "monitor.db")
    status = status_page.render(Reader(monitored.store).read(START + 141 * EVERY))
    return {"report": report, "comparison": (folder / "compared.html").read_text(), "status": status}


def marked(page: str) -> set[str]:
    return set(re.findall(r'popovertarget="(term-[\w-]+)"', page))


def test_each_marked_word_has_its_definition_and_no_other_is_on_the_page(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        assert marked(page) == set(re.findall(r'<div id="(term-[\w-]+)" class="definition"', page)), name
        assert marked(page), name


def test_each_definition_is_of_a_word_that_a_page_marks(pages: dict[str, str]) -> None:
    words = re.findall(r'popovertarget="term-[\w-]+">([^<]+)<', re.sub("</?span[^>]*>", "", "".join(pages.values())))
    assert set(words) == set(DEFINITIONS)
