"""`doctor` on endpoints that are right: how often a check fails although nothing is wrong. It must be never.

100 examinations, four at a time in one process, which is a busier client than any that a person starts; a quarter of an
hour. In pieces: `python -m tests.benchmarks.doctor --runs 6`, or `--only "behind TLS"` for one of the endpoints.
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
from statistics import median
from typing import Any, NamedTuple

from gevent.pool import Pool

from streamgauge.harness.config.schema import Target
from streamgauge.harness.doctor.candidates import candidates
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.examination import Case, examine
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.exit_codes import Exit
from tests.support import link_proxy, proxies
from tests.support.hostile import certificate
from tests.support.reference import reference_server

RUNS, AT_ONCE = 100, 4
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
        lines = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'
        behind = stack.enter_context(proxies.nginx(server.url, folder, {"TLS": lines}, certificate(folder)))
        plain = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind |= stack.enter_context(proxies.nginx(server.url, plain, {"nginx": lines}))
        fast = ("x-gauge-itl: 3.3ms", "x-gauge-tokens: 400")
        yield [
            Endpoint("ordinary", server.url),
            Endpoint("150 ms away, with jitter", stack.enter_context(far(server.url))),
            Endpoint("300 tokens a second", server.url, fast),
            Endpoint("300 tokens a second, 150 ms away", stack.enter_context(far(server.url)), fast),
            Endpoint("behind TLS", behind["TLS"]),
            Endpoint("behind nginx, buffering off", behind["nginx"]),
            Endpoint("three tokens", server.url, ("x-gauge-tokens: 3",)),
        ]


@contextmanager
def far(url: str) -> Iterator[str]:
    """The URL of the same server at the other end of a long, shaky link."""
    link = json.dumps({"target": int(url.rpartition(":")[2]), **_FAR})
    with subprocess.Popen(
        [sys.executable, link_proxy.__file__, link], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


class Seen(NamedTuple):
    """One examination."""

    endpoint: str
    seconds: float
    exit: int  # 0: nothing is wrong; 3: too little came to tell
    failed: list[str]  # each with its evidence
    warned: list[str]


def look(endpoint: Endpoint) -> Seen:
    target = Target(verify=False)
    asked = candidates(endpoint.url, target, "openai_chat", model=None, path=None, headers=endpoint.headers)
    found = Diagnosis.of(examine(Case(endpoint.url, asked)))
    failed, warned = (
        [f"{item.name}: {item.result.says}" for item in found.having(status)] for status in (Status.FAIL, Status.WARN)
    )
    return Seen(endpoint.name, found.evidence.seconds, int(found.exit_code), failed, warned)


def looked(runs: int, only: str | None = None) -> Iterator[Seen]:
    """So many examinations, in turn of each endpoint, or all of one; told as they end."""
    with endpoints() as all_of_them:
        those = [each for each in all_of_them if only in {None, each.name}]
        if not those:
            sys.exit(f"no endpoint called {only!r}; there are {', '.join(each.name for each in all_of_them)}")
        for seen in Pool(AT_ONCE).imap(look, [those[number % len(those)] for number in range(runs)]):
            print(
                f"{seen.endpoint}: {seen.seconds:.0f} s, exit {seen.exit}",
                *seen.failed,
                *seen.warned,
                sep="\n  ",
                flush=True,
            )
            yield seen


def run(runs: int = RUNS, only: str | None = None) -> dict[str, Any]:
    all_seen = list(looked(runs, only))
    return {
        "examinations": len(all_seen),
        "with a failure": sum(bool(seen.failed) for seen in all_seen),
        "with a warning": sum(bool(seen.warned) for seen in all_seen),
        "could not tell": sum(seen.exit == Exit.INCONCLUSIVE for seen in all_seen),
        "seconds each": round(median(seen.seconds for seen in all_seen)),
        "by endpoint": dict(Counter(seen.endpoint for seen in all_seen)),
        "failures": [(seen.endpoint, each) for seen in all_seen for each in seen.failed],
        "warnings": [(seen.endpoint, each) for seen in all_seen for each in seen.warned],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", metavar="ENDPOINT")
    words = parser.parse_args()
    found = run(words.runs, words.only)
    print(json.dumps({name: value for name, value in found.items() if name not in {"failures", "warnings"}}))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
