"""Rows of another process: what could not be read from the database is refused before it is stored."""

import math
from pathlib import Path
from random import Random

import pytest

from streamgauge.harness.judge.store import fault_of
from streamgauge.harness.record.observation import StreamObservation
from tests.support.hostile_blobs import hostile
from tests.support.record import judged, observation, ttfts


def test_what_our_own_processes_send_is_welcome() -> None:
    vitals = [("worker-0", 10**9, "cpu_percent", 12.5)]
    assert fault_of([*ttfts(range(100, 400), labels={"phase": "warm"}), observation([])], vitals) == ""
    assert fault_of([], []) == ""


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (observation(arrivals=b"\xff" * 32), "arrivals blob of version 255"),
        (observation(arrivals=b"\x01" + bytes(32)), "arrivals blob is damaged"),
        (observation(user="u" * 10_001), "column user: a text of 10,001 characters"),
        (observation(detail="d" * 10_001), "a detail of more than 10,000 characters"),
        (observation(request_id="i" * 10_001), "a request_id of more than 10,000 characters"),
        (observation(answer="in song"), "column answer: 'in song' is none of streamed, whole"),
    ],
)
def test_a_stream_that_nothing_could_read_is_named(stream: StreamObservation, expected: str) -> None:
    assert expected in fault_of([observation(), stream], [])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_vital_that_is_no_finite_number_is_named(value: float) -> None:
    assert "is no finite number" in fault_of([], [("worker-0", 1, "cpu_percent", value)])


def test_what_is_welcome_can_be_judged_and_no_changed_blob_gets_through_that_cannot(tmp_path: Path) -> None:
    random, welcome = Random(13), []
    good = observation().arrivals
    for _ in range(500):
        stream = observation(arrivals=hostile(good, random))
        if not fault_of([stream], []):
            welcome.append(stream)
    assert 10 < len(welcome) < 490
    assert judged(tmp_path / "one.db", welcome, "p95(ttft) < 1s").measurements
