"""Apps that go to the background: is the answer there when they come back, and does the server wait for them?

Most come back after some seconds; some phones kill the app meanwhile. What was not read in between waits in kernels
and then at the server, so look at its memory and at its paused streams while this runs.
"""

from streamgauge.scenario import StreamUser, between, task


class Switcher(StreamUser):
    weight = 3
    network = "fast_4g"
    behaviour = "app_switcher"
    wait_time = between(2, 5)

    @task
    def ask(self) -> None:
        self.stream()


class Forgetful(Switcher):
    weight = 1
    behaviour = "forgotten_app"
