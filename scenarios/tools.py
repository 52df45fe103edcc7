"""Answers with a tool in the middle: how long do people look at a pause, and is the rest as smooth as without?

Half of the questions come with tools that the server runs itself, here those of the reference server (`forecast` never
comes back in time); for an endpoint of your own, write the names of its tools. `tool_pause` is a tool's run with the
model's next start, and in no ITL.
"""

from streamgauge.scenario import StreamUser, between, task


class Reader(StreamUser):
    network = "wifi"
    wait_time = between(1, 4)

    @task
    def ask(self) -> None:
        self.stream()


class Asker(Reader):
    tools = ("gauge_level", "convert", "forecast")
