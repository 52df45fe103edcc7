"""The page on `doctor` lists what there is, and its JSON document is as the schema says."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from streamgauge.harness.doctor import page
from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.document import document
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.examination import Case
from streamgauge.harness.doctor.experiments import EXPERIMENTS
from streamgauge.harness.doctor.products import PRODUCTS, table
from streamgauge.harness.doctor.reach import Reach
from streamgauge.harness.doctor.seen import Seen
from tests.support.examined import STREAM, answer, evidence
from tests.support.record import observation

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to/doctor.md").read_text()
SCHEMA = json.loads((DOCS / "reference/doctor.schema.json").read_text())


@pytest.mark.parametrize(
    "rows",
    [
        [f"| `{name}` | {check.title} | {check.why} |" for name, check in CHECKS.items()],
        [f"| `{name}` | {one.asks} | {one.most} |" for name, one in EXPERIMENTS.items()],
    ],
    ids=["checks", "experiments"],
)
def test_the_page_lists_everything_in_its_order(rows: list[str]) -> None:
    assert "\n".join(["", *rows, ""]) in PAGE


def test_all_that_is_asked_is_within_the_default_budget() -> None:
    assert sum(one.most for one in EXPERIMENTS.values()) == Case.budget


def test_the_document_is_as_its_schema_says() -> None:
    seen = Seen("POST", "http://h/", 200, {"content-type": "text/event-stream", "server": "nginx"}, b"", observation())
    evidence = Evidence("http://h/", "openai_chat", Reach("h"), {"as_is": seen})
    found = json.loads(document(Diagnosis.of(evidence)))
    jsonschema.validate(found, SCHEMA)
    assert found["recognised"] == ["nginx"]
    assert {item["check"] for item in found["checks"]} == {*CHECKS}


def test_the_page_says_what_is_wrong_and_not_what_would_be_right() -> None:
    headers = {"content-type": "text/event-stream", "content-length": "9"}
    seen = Seen("POST", "http://h/", 200, headers, b"data: x\n\n", observation())
    shown = page.render(Diagnosis.of(Evidence("http://h/", "openai_chat", Reach("h"), {"as_is": seen})))
    lead = "The server, or a proxy, sends the answer only when it knows its length."
    assert re.search(rf"<h1[^>]*>.*?fail.*?</h1>\s*<p[^>]*>{lead}<", shown, re.DOTALL)


def test_nothing_seen_is_unknown_throughout() -> None:
    nothing = Diagnosis.of(Evidence("https://h/", "openai_chat", Reach("h")))
    assert {item.result.status for item in nothing.items} == {"unknown"}
    assert nothing.exit_code == 3


def test_each_line_to_change_has_a_source_and_no_product_is_there_twice() -> None:
    lines = [line for product in PRODUCTS for line in product.lines.values()]
    assert all(line.source.startswith("https://") and line.line and line.directive for line in lines)
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS)


def test_the_page_lists_every_product_with_its_lines() -> None:
    assert PAGE.endswith(f"\n{table()}")


def test_the_html_page_begins_with_the_verdict_and_leaves_urls_and_marks_as_they_are() -> None:
    headers = {**STREAM, "content-type": "application/json"}
    shown = page.render(Diagnosis.of(evidence(answer(headers=headers), url="http://h/v1")))
    assert "<span>fail</span></h1>" in shown
    assert "“application/json”" in shown
    assert "http://h/v1" in shown
    assert "Http://" not in shown
    assert "`" not in shown.partition("</header>")[2].partition("<script")[0]
