"""Askers who never pause: how does the server do with just so many streams at a time?

Users are concurrent streams here: each asks on a direct connection, and asks again as soon as it has its answer. It is
the load of `streamgauge capacity`, which looks for the most users that keep the rules.
"""

from streamgauge.scenario import StreamUser, at_once, task


class Concurrent(StreamUser):
    wait_time = at_once

    @task
    def ask(self) -> None:
        self.stream()
