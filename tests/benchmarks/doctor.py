"""`doctor` on endpoints that are right: how often a check fails although nothing is wrong. It must be never.

`python -m tests.benchmarks.doctor --runs 100`, ten minutes: as many examinations, in turn of an ordinary endpoint, one
150 ms away with jitter, one with 300 tokens a second, one behind TLS, and one whose answers have three tokens.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from gevent.pool import Pool

from streamgauge.harness.config.schema import Target
from streamgauge.harness.doctor.candidates import candidates
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.examination import Case, examine
from streamgauge.harness.doctor.result import Status
from tests.support import link_proxy, proxies
from tests.support.hostile import certificate
from tests.support.reference import reference_server

_FAR = {"rtt": 0.15, "jitter": 0.03, "down": 20_000, "up": 20_000, "silences": []}  # s, kbit/s


class Endpoint(NamedTuple):
    name: str
    url: str
    headers: tuple[str, ...] = ()


@contextmanager
def endpoints() -> Iterator[list[Endpoint]]:
    """Each is right, and only its path or its pace differ."""
    with ExitStack() as stack:
        server = stack.enter_context(reference_server("--ttft", "200ms", "--itl", "20ms", "--tokens", "60"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = {"TLS": 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'}
        behind = stack.enter_context(proxies.nginx(server.url, folder, lines, certificate(folder)))
        fast = ("x-gauge-itl: 3.3ms", "x-gauge-tokens: 400")
        yield [
            Endpoint("ordinary", server.url),
            Endpoint("150 ms away, with jitter", stack.enter_context(far(server.url))),
            Endpoint("300 tokens a second", server.url, fast),
            Endpoint("300 tokens a second, 150 ms away", stack.enter_context(far(server.url)), fast),
            Endpoint("behind TLS", behind["TLS"]),
            Endpoint("three tokens", server.url, ("x-gauge-tokens: 3",)),
        ]


@contextmanager
def far(url: str) -> Iterator[str]:
    """The URL of the same server at the other end of a long, shaky link."""
    link = json.dumps({"target": int(url.rpartition(":")[2]), **_FAR})
    with subprocess.Popen([sys.executable, link_proxy.__file__, link], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def look(endpoint: Endpoint) -> Diagnosis:
    target = Target(verify=False)
    asked = candidates(endpoint.url, target, "openai_chat", model=None, path=None, headers=endpoint.headers)
    return Diagnosis.of(examine(Case(endpoint.url, asked)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=4)
    words = parser.parse_args()
    failed: Counter[str] = Counter()
    with endpoints() as those:
        order = [those[number % len(those)] for number in range(words.runs)]
        for endpoint, found in zip(order, Pool(words.at_once).imap(look, order), strict=True):
            wrong = [f"{item.name}: {item.result.says}" for item in found.having(Status.FAIL)]
            failed[endpoint.name] += bool(wrong)
            warned = ", ".join(item.name for item in found.having(Status.WARN)) or "none"
            print(
                f"{endpoint.name}: exit {int(found.exit_code)}, warnings: {warned}, {found.sentence}",
                *wrong,
                sep="\n  ",
                flush=True,
            )
    print(f"{sum(failed.values())} of {words.runs} examinations failed a check: {dict(failed)}")
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
