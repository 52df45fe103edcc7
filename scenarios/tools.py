"""Answers with a tool call in the middle: how long is the pause, and is the rest as smooth as without a tool?

Half of the questions offer tools that the server runs itself, here those of the reference server (`forecast` never
answers in time); for your own endpoint, write the names of its tools. `tool_pause` is the time of a tool's run and of
the model's restart; it is not part of ITL.
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
