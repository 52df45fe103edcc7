"""One client program against the benchmark's server, each on its own core, observed for a window of time.

A client's cost is the CPU time of its process over the window, measured from outside, per event that its own record has
in that window. Events that the server sent do not count: a client that is seconds behind has not handled them.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from streamgauge.harness.judge.store import Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock

from .server import ANSWER, CUT_OFF, Row, lateness, read_rows
from .truth import stored

READERS = Path(__file__).parent / "readers"
_SERVER = (sys.executable, "-m", "tests.benchmarks.server")
_REPOSITORY = Path(__file__).parents[2]
_LATE, _TRIES = 20, 3  # ms, P99; tries of a round
_PATHS = [str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]


@dataclass(frozen=True)
class Window:
    """What was observed between `begin` and `end` (CLOCK_MONOTONIC ns)."""

    begin: int
    end: int
    cpu: float  # CPU seconds of the client's process
    memory: list[tuple[float, int]]  # (seconds since the client began, its resident bytes)
    sent: dict[int, Row]  # the server's record, not limited to the window

    @property
    def server(self) -> dict[str, float]:
        return lateness(self.sent.values(), self.begin, self.end)

    def events(self, seen: Iterable[Row]) -> int:
        """The number of events that a client received in the window."""
        return sum(int(((row.at >= self.begin) & (row.at < self.end)).sum()) for row in seen)

    def errors(self, seen: Iterable[Row]) -> dict[str, float]:
        """Errors of a client's times in ms, over the streams that began and ended in the window.

        An overloaded client begins few streams in the window, so its true errors are larger than these.

        TTFT is the client's own time from start to first token; the truth is the time from the request's arrival in the
        server's kernel to the sending of the first token, and how long the server took in the TLS handshake before it.
        """
        ttft, itl, unequal = [], [], 0
        for row in seen:
            truth = self.sent.get(row.id)
            if truth is None or row.began < self.begin or not len(row.at) or row.at[-1] > self.end:
                continue
            if len(row.at) != len(truth.at):  # its times cannot be matched to tokens
                unequal += 1
                continue
            ttft.append((row.at[0] - row.began) - (truth.at[0] - truth.began + truth.handshake))
            itl.append(np.diff(row.at) - np.diff(truth.at))
        if not ttft:
            return {}
        errors = {**_percentiles("ttft", np.array(ttft)), **_percentiles("itl", np.concatenate(itl))}
        return {**errors, "streams_judged": len(ttft), "streams_left_out": unequal}


def watch(
    client: Callable[[str], Sequence[str]],
    *,
    warm_up: float,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    every: float = 5.0,
    shared: bool = False,
    certificate: Sequence[Path] = (),
) -> Window:
    """Run the command that `client` makes from the server's URL; end it with SIGTERM after the window.

    `certificate`: of a server that speaks TLS, with its key; the client trusts it. `shared`: the client may also use
    the server's core. Its cost includes its child processes.
    """
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        truth = Path(folder) / "truth"
        server = _start([*_SERVER, str(truth), *map(str, certificate)], cores[-1:], {})
        running.callback(_stop, server)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        # A file, since an overloaded client would fill a pipe and then block until somebody reads it.
        output = running.enter_context((Path(folder) / "output").open("w+"))
        trusted = {"SSL_CERT_FILE": str(certificate[0])} if certificate else {}
        process = _start(client(url), cores if shared else cores[:1], {**trusted, **(environment or {})}, output)
        running.callback(_stop, process)
        begin, end, cpu, memory = _observe(process, output, warm_up, seconds, every)
        _stop(process)
        assert process.returncode in {0, 1, 3, -signal.SIGTERM}, _tail(output)
        _stop(server)
        return Window(begin, end, cpu, memory, {row.id: row for row in read_rows(truth)})


def locust(
    scenario: Path, streams: int, database: Path | None = None, more: Sequence[str] = ()
) -> Callable[[str], list[str]]:
    """The command of a Locust run that goes on until it is stopped; its users start over the time of one answer."""

    def command(url: str) -> list[str]:
        rate = str(streams / ANSWER)
        options = ["--headless", "--only-summary", "-u", str(streams), "-r", rate, "--host", url]
        ours = ["--gauge-db", str(database), "--gauge-inconclusive", "pass"] if database else []
        return [sys.executable, "-m", "locust", "-f", str(scenario), *options, *ours, *more]

    return command


def recorded(database: Path) -> Iterable[Row]:
    """The streams of a recorded run as rows, including interrupted ones; times on CLOCK_MONOTONIC."""
    with Store.open(database) as store:
        # Assumes that CLOCK_REALTIME has not stepped since the run; a step would show as a huge error.
        origin = RunClock.starting_at(store.run().realtime_ns).origin
    for row in stored(database):
        yield Row(_number(row), row["due_at"] + origin, 0, row["content"] + origin)


def handed(database: Path) -> Iterable[Row]:
    """The same with the times at which the client library handed the content over; no times without a library."""
    with Store.open(database) as store:
        origin = RunClock.starting_at(store.run().realtime_ns).origin
    for row in stored(database):
        seen = arrivals.columns(row["arrivals"] or b"")
        handed_on = arrivals.is_content(seen.kind) & (seen.client_lag >= 0)
        at = (seen.perceived_at + seen.client_lag)[handed_on] * 1_000
        yield Row(_number(row), row["due_at"] + origin, 0, at + origin)


def _number(row: Mapping[str, Any]) -> int:
    return int(row["request_id"][4:]) if row["outcome"] == "completed" else CUT_OFF


def in_time(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """A round in which the server was in time, or the least late of three: a late server says little of the client.

    It sends several tokens at once to catch up, and answers several handshakes at once, for which the client then needs
    a while.
    """
    tries = [measure()]
    while (late := tries[-1]["server_late_p99_ms"]) > _LATE and len(tries) < _TRIES:
        print(f"the benchmark's own server was {late:.0f} ms late (P99), so this round is repeated", flush=True)
        tries.append(measure())
    return min(tries, key=lambda each: each["server_late_p99_ms"])


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure, and in how many rounds the server was late."""
    found = {name: float(np.median([each[name] for each in rounds if name in each])) for name in rounds[0]}
    late = sum(each.get("server_late_p99_ms", 0) > _LATE for each in rounds)
    return {**found, "rounds_with_a_late_server": late} if late else found


def of_the_server(found: Mapping[str, float]) -> str:
    """How late the server was, for a person."""
    late = f"server late p99 {found['server_late_p99_ms']} ms"
    count = found.get("rounds_with_a_late_server")
    return f"{late}; more than {_LATE} in {count:.0f} of the rounds: not to be trusted" if count else late


def _start(
    command: Sequence[str],
    cores: Sequence[int],
    environment: Mapping[str, str],
    output: int | IO[str] = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS), **environment},
    )
    os.sched_setaffinity(process.pid, cores)
    return process


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _tail(output: IO[str]) -> str:
    output.seek(0)
    return output.read()[-2_000:]


def _observe(
    process: "subprocess.Popen[str]", output: IO[str], warm_up: float, seconds: float, every: float
) -> tuple[int, int, float, list[tuple[float, int]]]:
    began = time.monotonic()
    program, memory = psutil.Process(process.pid), []
    time.sleep(warm_up)
    assert process.poll() is None, _tail(output)
    begin, cpu_before = time.monotonic_ns(), _cpu(program)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        memory.append((time.monotonic() - began, program.memory_info().rss))
        time.sleep(min(every, left))
    assert process.poll() is None, _tail(output)
    end, cpu = time.monotonic_ns(), _cpu(program) - cpu_before
    memory.append((time.monotonic() - began, program.memory_info().rss))
    return begin, end, cpu, memory


def _cpu(program: psutil.Process) -> float:
    """CPU seconds of a process and its children."""
    every = [program, *program.children(recursive=True)]
    return float(sum(sum(each.cpu_times()[:2]) for each in every))


def _percentiles(name: str, errors: NDArray[np.int64]) -> dict[str, float]:
    """P50 and P99 of the absolute errors, ms."""
    percentiles = np.percentile(np.abs(errors), [50, 99]) / 1e6
    return {
        f"{name}_error_{which}_ms": round(float(ms), 3) for which, ms in zip(("p50", "p99"), percentiles, strict=True)
    }
