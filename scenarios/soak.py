"""Tides of load for hours: does anything leak, fill up or get slower?

Between 5 and 30 readers, in waves of ten minutes, for four hours (`--run-time` shortens it). A wave should look
the same as one an hour earlier.
"""

from streamgauge.scenario import StreamUser, Wave, reading, task


class Reader(StreamUser):
    network = "wifi"
    wait_time = reading()

    @task
    def ask(self) -> None:
        self.stream()


class Tide(Wave):
    users = (5, 30)
    period = 600
    seconds = 4 * 3600
