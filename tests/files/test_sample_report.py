"""The sample report in docs/ is a page of this version."""

import re
from pathlib import Path

from streamgauge.reports import page

SAMPLE = (Path(__file__).parents[2] / "docs/sample-report.html").read_text("utf-8")


def test_the_sample_report_looks_as_a_report_of_today() -> None:
    """`make sample-report report-picture` makes it anew."""
    found = re.search(r'<meta name="streamgauge-design" content="(\w+)">', SAMPLE)
    assert found is not None
    assert found[1] == page.design(), "a template, script or style sheet of reports/ changed: make sample-report"


def test_the_sample_report_is_a_good_run() -> None:
    assert '<header id="verdict" class="verdict met' in SAMPLE
    assert '<span class="mark valid">' in SAMPLE
    assert len(SAMPLE.encode()) <= 2_000_000
