"""How long `doctor` waits, and what it says of what it did not wait for."""

import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Target, Timeouts
from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.doctor.session import bounded
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.path_limits import KNOWN
from tests.support.examined import answer, evidence


@pytest.mark.parametrize("limit", [each for each in KNOWN if 29 <= each <= 30])
def test_doctor_waits_longer_than_a_gateway_that_gives_up_before_the_first_byte(limit: float) -> None:
    waits = bounded(Target()).timeouts
    assert min(waits.first_token, waits.idle, waits.total) / 1e9 >= limit + 1


def test_a_timeout_of_the_config_is_kept_if_it_is_shorter() -> None:
    waits = bounded(Target(timeouts=Timeouts(idle=Duration.parse("3s"), total=Duration.parse("60s")))).timeouts
    assert (waits.idle / 1e9, waits.total / 1e9) == (3, 35)


def test_what_was_found_until_a_stop_is_not_called_all_there_is() -> None:
    told = Diagnosis.of(evidence(answer(output_tokens=40), warm=answer(output_tokens=40, fresh=False), stopped=True))
    assert told.having(Status.FAIL) == told.having(Status.WARN) == []
    assert told.sentence == "It streams, and nothing wrong was found until doctor was stopped"


@pytest.mark.parametrize(
    ("after", "headers", "lines"),
    [
        (29_100, {}, ['AWS API Gateway: "responseTransferMode": "STREAM"']),
        (29_100, {"x-amz-apigw-id": "a"}, ['AWS API Gateway: "responseTransferMode": "STREAM"']),
        (50_020, {}, ["HAProxy: timeout server 1h"]),
        (60_020, {"server": "nginx"}, ["nginx: proxy_read_timeout 1h;"]),
        (600_100, {}, ["nginx: proxy_read_timeout 1h;", "an AWS load balancer: idle_timeout.timeout_seconds=4000"]),
    ],
)
def test_who_gives_up_before_the_first_byte_is_who_is_to_change(
    after: float, headers: dict[str, str], lines: list[str]
) -> None:
    found = CHECKS["answers"].look(evidence(answer((), 504, headers, Outcome.REFUSED, b"no", head=after)))
    assert (found.status, [fix.line for fix in found.fixes]) == (Status.FAIL, lines)
