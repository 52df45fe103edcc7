"""What Locust's tables call the streams of a scenario."""

import subprocess
import sys

import pytest

from tests.support.command import PATIENCE
from tests.support.hostile import asked, scripted

SCENARIO = """
import sys, time
from streamgauge.scenario import StreamUser
from locust.env import Environment
from streamgauge.harness.config.schema import Request, Target
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.users import Assignment, assign
from streamgauge.harness.record.clock import RunClock

class Person(StreamUser):
    pass

target = Target(protocol="plain_sse", request=Request(method=sys.argv[2]))
environment = Environment()
site = Site.of(sys.argv[1], target, RunClock.starting_at(time.time_ns()))
assign(environment, Assignment("s", 1, "w", site, lambda _: None))
environment.events.request.add_listener(lambda request_type, name, **_: print(request_type, name))
person = Person(environment)
person.fetch("Hello?")
person.stream("Hello?")
"""


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_an_answer_in_one_piece_goes_by_its_method_and_a_stream_by_what_it_is(method: str) -> None:
    with scripted(asked(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")) as server:
        words = [sys.executable, "-c", SCENARIO, server.url, method]
        told = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert told.stdout.splitlines() == [f"{method} Person answer", "SSE Person TTFT"], told.stderr
