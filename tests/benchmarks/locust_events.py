"""The cost of Locust's request event, which fires once per stream, with Locust's statistics listening.

The reference is an append to a list in the same process.
"""

import json
import subprocess
import sys
import timeit
from typing import Any

_FIRES = 100_000


def run() -> dict[str, Any]:
    # In its own process: importing Locust patches the process that imports it.
    output = subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(output)
    print(
        f"locust_events: {found['fire_us']} µs a stream for events.request.fire, {found['times_an_append']:,.0f} × a "
        f"list append ({found['append_us']} µs)"
    )
    return found


def _measure() -> dict[str, float]:
    from locust.env import Environment  # noqa: PLC0415 - see `run`

    environment = Environment()
    environment.create_local_runner()  # starts the statistics
    kept: list[float] = []
    number = 0.0

    def fire() -> None:
        nonlocal number
        number += 1
        environment.events.request.fire(
            request_type="SSE",
            name="Reader TTFT",
            response_time=200 + number % 50,
            response_length=12_000,
            response=None,
            context={},
            exception=None,
        )

    fire_us = min(timeit.repeat(fire, number=_FIRES // 5, repeat=5)) / (_FIRES // 5) * 1e6
    append_us = min(timeit.repeat(lambda: kept.append(number), number=_FIRES, repeat=5)) / _FIRES * 1e6
    return {
        "fire_us": round(fire_us, 2),
        "append_us": round(append_us, 3),
        "times_an_append": round(fire_us / append_us, 1),
    }


if __name__ == "__main__":
    print(json.dumps(_measure()))
