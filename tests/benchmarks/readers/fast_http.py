"""Locust's FastHttpUser as a careful person uses it: line by line, with Python's clock for every token."""

import atexit
import os
import time
from array import array
from pathlib import Path

from locust import FastHttpUser, constant, task

from tests.benchmarks.server import CUT_OFF, write_row

_LOG = Path(os.environ["BENCHMARK_LOG"]).open("wb")  # noqa: SIM115 - open as long as the process runs
atexit.register(_LOG.close)


class Reader(FastHttpUser):  # type: ignore[misc]  # locust ships no types
    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:  # deep: written as people write it
        began, at, number = time.monotonic_ns(), array("q"), CUT_OFF
        with self.client.post("/v1/messages", json={"stream": True}, stream=True, catch_response=True) as response:
            try:
                line = response.stream.readline(b"\n")
                while line:
                    if line.startswith(b"event: content_block_delta"):
                        at.append(time.monotonic_ns())
                    line = response.stream.readline(b"\n")
                number = int(response.headers["request-id"][4:])
            finally:  # also when the run ends in mid-answer
                write_row(_LOG, number, began, 0, at)
            response.success()
