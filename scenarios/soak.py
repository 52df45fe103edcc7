"""Tides of load for hours: does anything leak, fill up or get slower?

Between 5 and 30 readers, up and down every ten minutes, for four hours (`--run-time` cuts it short). The same tide an
hour later should look the same.
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
