"""The face for scenario authors: all that a locustfile of ours needs. Importing it registers the listeners.

from harness.scenario import StreamUser, between, task

class Reader(StreamUser):
    wait_time = between(1, 4)
    network = "slow_4g"

    @task
    def ask(self):
        self.stream()
"""

from locust import constant, events, tag, task

from harness import locust_plugin
from harness.drive.behaviour import BEHAVIOURS
from harness.drive.network import NETWORKS
from harness.drive.prompts import Prompt, handbook
from harness.drive.shapes import Ramp, Spike, Steps, Wave
from harness.drive.users import StreamUser, between, reading

__all__ = [
    "BEHAVIOURS",
    "NETWORKS",
    "Prompt",
    "Ramp",
    "Spike",
    "Steps",
    "StreamUser",
    "Wave",
    "between",
    "constant",
    "handbook",
    "reading",
    "tag",
    "task",
]

locust_plugin.register(events)
