"""Users that Locust lets in in one second: they begin spread over that second, and in a spike together."""

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from tests.support.command import PATIENCE

# The eight begin 85 ms or more apart: a busy machine does not change their order.
SCENARIO = """
import json, sys, time
from streamgauge.scenario import Spike, StreamUser, constant, task
import gevent
from locust.env import Environment
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.users import Assignment, assign
from streamgauge.harness.record.clock import RunClock

class Person(StreamUser):
    wait_time = constant(60)

    @task
    def begin(self):
        self.environment.began.append((time.monotonic() - self.environment.let_in, self.number))

    def on_start(self):
        self.number = self.environment.order.index(self)

class Listed(Person):
    def __init__(self, environment):
        super().__init__(environment)
        environment.order.append(self)

class Crowd(Spike):
    pass

def let_in(shape):
    environment = Environment(user_classes=[Listed], shape_class=shape)
    environment.began, environment.order = [], []
    site = Site.of("http://127.0.0.1:1", Target(), RunClock.starting_at(time.time_ns()))
    assign(environment, Assignment("s", 11372, "w", site, print))
    runner = environment.create_local_runner()
    environment.let_in = time.monotonic()
    for _ in range(8):
        runner.spawn_users({"Listed": 1})
    return environment

at_once = [let_in(shape) for shape in (None, None, Crowd())]
gevent.sleep(1.3)
for environment in at_once:
    environment.runner.user_greenlets.kill()
told = [environment.began for environment in at_once]
print(json.dumps(told))
"""


@pytest.mark.timing
def test_users_let_in_together_begin_over_a_second_in_the_same_order_and_those_of_a_spike_together() -> None:
    program = [sys.executable, "-c", SCENARIO]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    first, again, crowd = json.loads(done.stdout.splitlines()[-1])
    assert [len(each) for each in (first, again, crowd)] == [8, 8, 8]
    assert [number for _, number in first] == [number for _, number in again]
    moments = [moment for moment, _ in first]
    assert moments[-1] - moments[0] > 0.5
    assert max(later - earlier for earlier, later in pairwise(moments)) < 0.5
    assert crowd[-1][0] - crowd[0][0] < 0.3
