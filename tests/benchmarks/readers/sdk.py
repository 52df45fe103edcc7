"""The usual Locust script: the anthropic SDK on its own connections, a stamp in Python for every token."""

import atexit
import os
import time
from array import array
from pathlib import Path

from anthropic import Anthropic, DefaultHttpxClient
from locust import User, constant, task

from tests.benchmarks.server import CUT_OFF, write_row

_LOG = Path(os.environ["BENCHMARK_LOG"]).open("wb")  # noqa: SIM115 - open as long as the process is
atexit.register(_LOG.close)


class Reader(User):  # type: ignore[misc]  # locust ships no types
    wait_time = constant(0)

    def on_start(self) -> None:
        # Without `verify`, every user would load the system's certificates: the window would be over before all ask.
        plain = DefaultHttpxClient(verify=False)
        self.sdk = Anthropic(base_url=self.host, api_key="none", max_retries=0, http_client=plain)

    @task  # type: ignore[untyped-decorator]  # Locust ships no types
    def ask(self) -> None:
        began, at, number = time.monotonic_ns(), array("q"), CUT_OFF
        asked = {"model": "benchmark", "max_tokens": 1000, "messages": [{"role": "user", "content": "How high is it?"}]}
        with self.sdk.messages.create(**asked, stream=True) as answer:  # type: ignore[call-overload]  # as a dict
            try:
                for event in answer:
                    if event.type == "content_block_delta":
                        at.append(time.monotonic_ns())
                number = int(answer.response.headers["request-id"][4:])
            finally:  # at the run's end, in the middle of an answer
                write_row(_LOG, number, began, 0, at)
