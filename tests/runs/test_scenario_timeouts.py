"""What ends a stream from elsewhere goes on to the scenario, and the stream stays in the record."""

import subprocess
import sys

import pytest

from tests.support.command import PATIENCE
from tests.support.hostile import CHUNKED, DONE, LAST, asked, chunk, held, scripted, tokens

SCENARIO = """
import sys, time
from streamgauge.scenario import StreamUser
import gevent
from locust.env import Environment
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.users import Assignment, assign
from streamgauge.harness.record.clock import RunClock

class Person(StreamUser):
    pass

recorded = []
environment = Environment()
site = Site.of(sys.argv[1], Target(protocol="plain_sse"), RunClock.starting_at(time.time_ns()))
run = Assignment("s", 1, "w", site, recorded.append)
assign(environment, run)
person = Person(environment)
try:
    with gevent.Timeout(10) as timeout:  # in which three tokens come even on a busy machine
        person.stream("Hello?")
except gevent.Timeout as caught:
    [seen] = recorded
    print(caught is timeout, person.last is seen, run.active, seen.outcome, seen.content_chunks)

told = []
environment.events.request.add_listener(lambda response_time, **_: told.append(response_time))
with site.decoding:  # another stream's turn
    late = gevent.spawn(person.stream, "Hello?")
    while not site.decoding._turn.linkcount():
        gevent.sleep(0.001)
    late.kill()  # as the end of the run does it
print(recorded[-1].outcome, len(recorded), [took > 0 for took in told])
"""


@pytest.fixture(scope="module")
def said() -> list[str]:
    with scripted(held(CHUNKED, chunk(tokens(3))), asked(CHUNKED, chunk(tokens(3) + DONE), LAST)) as server:
        command = [sys.executable, "-c", SCENARIO, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert server.result() == "fin"
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_timeout_around_a_stream_reaches_the_scenario_and_the_stream_the_record(said: list[str]) -> None:
    assert said[0] == "True True 0 interrupted 3"


def test_an_answer_that_was_whole_when_its_user_was_stopped_is_in_the_record_and_in_locusts_statistics(
    said: list[str],
) -> None:
    assert said[1] == "completed 2 [True]"
