"""The usual Locust script: the anthropic SDK with its own connections, and Python's clock for every token."""

import atexit
import os
import time
from array import array
from pathlib import Path

from anthropic import Anthropic, DefaultHttpxClient
from locust import User, constant, task

from tests.benchmarks.server import CUT_OFF, write_row

_LOG = Path(os.environ["BENCHMARK_LOG"]).open("wb")  # noqa: SIM115 - open as long as the process runs
atexit.register(_LOG.close)


class Reader(User):  # type: ignore[misc]  # locust ships no types
    wait_time = constant(0)

    def on_start(self) -> None:
        # With `verify`, every user loads the system's certificates, and the window ends before all users have asked.
        plain = DefaultHttpxClient(verify=False)
        self.sdk = Anthropic(base_url=self.host, api_key="none", max_retries=0, http_client=plain)

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:  # deep: written as people write it
        began, at, number = time.monotonic_ns(), array("q"), CUT_OFF
        asked = {"model": "benchmark", "max_tokens": 1000, "messages": [{"role": "user", "content": "How high is it?"}]}
        with self.sdk.messages.create(**asked, stream=True) as answer:  # type: ignore[call-overload]  # as a dict
            try:
                for event in answer:
                    if event.type == "content_block_delta":
                        at.append(time.monotonic_ns())
                number = int(answer.response.headers["request-id"][4:])
            finally:  # also when the run ends in mid-answer
                write_row(_LOG, number, began, 0, at)
