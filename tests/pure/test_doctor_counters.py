"""What `doctor` makes of a server's counters: no verdict from those that may count something else, or half a page."""

from typing import Any

import pytest

from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.result import Result, Status
from streamgauge.harness.record.observation import Outcome
from tests.support.examined import STEADY, answer, evidence

BEGUN = answer(STEADY[:5], outcome=Outcome.CANCELLED)
PAGE = answer((), headers={}, outcome=Outcome.TRUNCATED)
IDLE = {f"{what}_{when}": 0.0 for what in ("active", "generated") for when in ("before", "soon", "late")}


def leaving(seen: Evidence) -> Result:
    return CHECKS["leaving"].look(seen)


@pytest.mark.parametrize(("counted", "status"), [(1, Status.UNKNOWN), (3, Status.PASS), (8, Status.PASS)])
def test_a_counter_that_did_not_count_what_came_tells_nothing(counted: int, status: Status) -> None:
    figures = IDLE | {"generated_soon": counted, "generated_late": counted}
    found = leaving(evidence(answer(), leave=BEGUN, figures=figures))
    assert (found.status, f"went up by {counted}, and 5 chunks came" in found.says) == (
        status,
        status is Status.UNKNOWN,
    )


WHY_NOT: dict[str, Any] = {
    "HTTP 404 for http://h/: [target.metrics] names": {"metrics_before": answer((), 404, {}, Outcome.REFUSED)},
    "no answer for http://h/": {"metrics_before": answer((), None, {}, Outcome.RESET)},
    "did not come whole: cut": {"metrics_before": answer((), outcome=Outcome.TRUNCATED, whole=False, detail="cut")},
    "did not come whole: the answer is longer than 9": {
        "metrics_before": answer((), outcome=Outcome.MALFORMED, detail="the answer is longer than 9 bytes")
    },
    "no counters that are known": {"metrics_before": PAGE},
    "the budget of 4": {"untried": {"metrics_before": "the budget of 4 requests was used up"}},
    "it was stopped": {"leave": BEGUN, "metrics_before": PAGE, "untried": {"metrics_soon": "it was stopped"}},
    "it was not asked": {},
}


@pytest.mark.parametrize("why", WHY_NOT)
def test_why_no_counters_are_known_is_said_as_it_is(why: str) -> None:
    figures = {"active_before": 0.0, "generated_before": 0.0} if "leave" in WHY_NOT[why] else {}
    found = leaving(evidence(answer(), figures=figures, **WHY_NOT[why]))
    assert (found.status, why in found.says) == (Status.UNKNOWN, True), found.says


def test_a_page_without_our_numbers_after_one_with_them_is_not_called_whole() -> None:
    figures = {"active_before": 0.0, "generated_before": 0.0}
    cut = answer((), outcome=Outcome.RESET)
    found = leaving(evidence(answer(), leave=BEGUN, metrics_before=PAGE, metrics_soon=cut, figures=figures))
    assert found.says.startswith("the metrics page did not come whole")
