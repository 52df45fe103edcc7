"""For scenario authors: everything that a locustfile needs. Importing it registers streamgauge's Locust listeners.

from streamgauge.scenario import StreamUser, between, task

class Reader(StreamUser):
    wait_time = between(1, 4)
    network = "slow_4g"

    @task
    def ask(self):
        self.stream()
"""

from locust import constant, events, tag, task

from streamgauge.harness.drive.behaviour import BEHAVIOURS
from streamgauge.harness.drive.network import NETWORKS
from streamgauge.harness.drive.prompts import Prompt, handbook
from streamgauge.harness.drive.shapes import Ramp, Spike, Steps, Wave
from streamgauge.harness.drive.think_times import at_once, between, reading
from streamgauge.harness.drive.users import StreamUser
from streamgauge.harness.run import locust_plugin

__all__ = [
    "BEHAVIOURS",
    "NETWORKS",
    "Prompt",
    "Ramp",
    "Spike",
    "Steps",
    "StreamUser",
    "Wave",
    "at_once",
    "between",
    "constant",
    "handbook",
    "reading",
    "tag",
    "task",
]

locust_plugin.register(events)
