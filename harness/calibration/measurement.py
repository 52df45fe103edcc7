"""Measures how exact this machine's times are: real runs against the reference server, compared with the server's log.

Each run has one step for each number of streams. Two kinds of runs are made: one process on one core with the server
on another, and as many processes as there are cores for them, with several servers that share a port.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from msgspec import structs

from streamgauge.harness import programs
from streamgauge.harness.calibration import machine
from streamgauge.harness.calibration.comparison import Window, compare
from streamgauge.harness.errors import ScenarioError, TargetError
from streamgauge.harness.record.certificate import Certificate, Point

STREAMS = (250, 500, 1000)
MOST_STREAMS = 4_000  # for each server, which accepts 5,000
SECONDS = 5
_SETTLE = 2  # seconds in which the users of a step start
_ANSWER = 2.2  # seconds: the preset `exact` sends 100 tokens, 50 a second, after 0.2 s
_SLACK = 0.8  # seconds that an answer may be late before its step ends
_CPU = Path("/proc/stat")
_SCENARIO = """\
from streamgauge.scenario import Steps, StreamUser, constant, task


class Load(Steps):
    users = {users}
    seconds = {seconds}


class Reader(StreamUser):
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        self.stream()
"""
_CONFIG = "[target]\nverify = false\n"


@dataclass(frozen=True, slots=True)
class Layout:
    """Who runs on which cores; an empty sequence of cores: wherever the system puts it."""

    processes: int  # of the load generator
    generator: Sequence[int]
    servers: Sequence[Sequence[int]]  # the cores of each server

    @property
    def shared(self) -> bool:
        """Whether servers and load generator use the same cores, so that each delays the other."""
        return bool(self.processes > 1 and {core for cores in self.servers for core in cores} & {*self.generator})


def layouts(cores: Sequence[int], count: int) -> list[Layout]:
    """One core, and all `count` cores. A machine with one core has only the first.

    A server's core carries about as many streams as one of the load generator, so each gets half of the cores. With
    fewer than four, that would leave nothing to divide: there the processes share the cores with the server.
    """
    used = cores[:count]
    one = Layout(1, used[-1:], [used[:1]])
    if count < 2:
        return [one]
    if count < 4:
        return [one, Layout(count, used, [used[:1]])]
    servers = count // 2
    return [one, Layout(count - servers, used[servers:], [used[place : place + 1] for place in range(servers)])]


def calibrate(
    streams: Sequence[int],
    seconds: int,
    kinds: Sequence[bool],
    report: Callable[[Point], None],
    among: Sequence[Layout],
) -> Certificate:
    """Measure with each number of streams for each server, over plain HTTP (False in `kinds`) and TLS (True).

    `report` is called with each result. TargetError if a server or a run
    does not start, ScenarioError if TLS is asked for and `openssl` is missing.
    """
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "streamgauge.toml").write_text(_CONFIG)
        for layout, tls in product(among, kinds):
            found = _points(folder, layout, streams, seconds, tls=tls)
            points += found
            for point in found:
                report(point)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Certificate(made_at=made_at, valid_for=machine.facts(), points=points)


def _points(folder: Path, layout: Layout, streams: Sequence[int], seconds: int, *, tls: bool) -> list[Point]:
    log, database = folder / "truth.jsonl", folder / "run.db"
    for old in folder.glob("run.db*"):
        old.unlink()
    log.unlink(missing_ok=True)
    loads = sorted({number * len(layout.servers) for number in streams})
    steps = _SCENARIO.format(users=loads, seconds=_SETTLE + seconds)
    (folder / "readers.py").write_text(steps)
    options = ["--preset", "exact", "--truth", str(log), *(_tls_certificate(folder) if tls else ())]
    began, all_before, ours_before = time.monotonic(), _used_by_all(), _used_by_us()
    with programs.reference_servers(layout.servers, *options) as url:
        _drive(folder, url, layout)
    others = (_used_by_all() - all_before) - (_used_by_us() - ours_before)
    share = others / (time.monotonic() - began) / (os.cpu_count() or 1)  # below 0 if not known
    points = compare(database, log, list(_windows(loads, seconds)), processes=layout.processes, tls=tls)
    return [structs.replace(point, used_by_others=round(min(max(share, 0.0), 1.0), 4)) for point in points]


def _used_by_all() -> float:
    """CPU-seconds of all programs, and those that a virtual machine's host gave to others (proc(5)). 0: not known."""
    try:
        user, nice, system, _idle, _waiting, *others = map(int, _CPU.read_text().split(maxsplit=9)[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def _used_by_us() -> float:
    """CPU-seconds of this process and of all that it started and that have ended."""
    return sum(os.times()[:4])


def _windows(loads: Sequence[int], seconds: int) -> Iterator[Window]:
    for place, streams in enumerate(loads):
        begin = place * (_SETTLE + seconds) + _SETTLE
        moments = (begin, begin + seconds - _ANSWER - _SLACK, begin + seconds)
        yield Window(streams, *(round(moment * 1e9) for moment in moments))


def _drive(folder: Path, url: str, layout: Layout) -> None:
    record = ["--host", url, "--gauge-db", "run.db", "--gauge-inconclusive", "pass", "--gauge-keep-going"]
    divided = ["--processes", str(layout.processes)] if layout.processes > 1 else []
    command = programs.locust_command(
        Path("readers.py"), *programs.HEADLESS, *record, *divided, "--only-summary", "--loglevel", "ERROR"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    with programs.running(
        command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        programs.pin(process.pid, layout.generator)
        _, errors = process.communicate()
    if not (folder / "run.db").exists():
        raise TargetError(f"the run did not start: {' '.join(errors.strip().splitlines()[-1:])}")


def _tls_certificate(folder: Path) -> list[str]:
    """Options of the server: a new self-signed certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        raise ScenarioError("calibrating TLS needs the `openssl` command; install it, or add --plain-only")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]
