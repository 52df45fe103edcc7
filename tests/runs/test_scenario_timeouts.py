"""A scenario's own code that ends a stream: the exception goes on, and the stream stays in the record."""

import subprocess
import sys

from tests.support.hostile import CHUNKED, chunk, held, scripted, tokens

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
    with gevent.Timeout(0.3) as timeout:
        person.stream("Hello?")
except gevent.Timeout as caught:
    [seen] = recorded
    print(caught is timeout, person.last is seen, run.active, seen.outcome, seen.content_chunks)
"""


def test_a_timeout_around_a_stream_reaches_the_scenario_and_the_stream_the_record() -> None:
    with scripted(held(CHUNKED, chunk(tokens(3)))) as server:
        command = [sys.executable, "-c", SCENARIO, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert server.result() == "fin"
    assert (done.stdout, done.returncode) == ("True True 0 interrupted 3\n", 0), done.stderr
