"""Measures how exact this machine's times are: real runs against the reference server, compared with the server's log.

Server and load generator are two processes, each on a core of its own if the machine has two. Both take their stamps
from the same clock, so an error is a plain difference: the recorded arrival minus the time at which the server sent the
event.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from streamgauge import __version__
from streamgauge.harness import programs
from streamgauge.harness.calibration import resolution
from streamgauge.harness.calibration.resolution import Calibration, Point
from streamgauge.harness.errors import ScenarioError, TargetError
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital

STREAMS = (50, 200, 500, 1000)
_WARM_UP = 3  # seconds in which the users start
_TOKENS = 100  # per answer, at 50 a second
_SCENARIO = """\
from streamgauge.scenario import StreamUser, constant, task


class Reader(StreamUser):
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        self.stream()
"""
_CONFIG = "[target]\nverify = false\n"


class _Sent(msgspec.Struct):
    """A stream in the server's log. Times are CLOCK_MONOTONIC in ns."""

    id: str
    due: int | None
    sent: list[int]


def calibrate(
    streams: Sequence[int], seconds: int, kinds: Sequence[bool], report: Callable[[Point], None]
) -> Calibration:
    """Measure with each number of streams, over plain HTTP (False in `kinds`) and TLS (True).

    `report` is called with each result. TargetError if a server or a run does not start, ScenarioError if TLS is asked
    for and `openssl` is missing.
    """
    points = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "readers.py").write_text(_SCENARIO)
        (folder / "streamgauge.toml").write_text(_CONFIG)
        for tls in kinds:
            certificate = _certificate(folder) if tls else []
            for number in streams:
                points.append(_point(folder, number, seconds, certificate))
                report(points[-1])
    return Calibration(
        machine=resolution.machine(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        streamgauge=__version__,
        points=points,
    )


def _point(folder: Path, streams: int, seconds: int, certificate: Sequence[str]) -> Point:
    log, database = folder / "truth.jsonl", folder / "run.db"
    for old in (log, database):
        old.unlink(missing_ok=True)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # absent on macOS
    options = ["--preset", "exact", "--tokens", str(_TOKENS), "--truth", str(log), *certificate]
    with programs.reference_server(*options, cores=cores[:1]) as url:
        _drive(folder, url, streams, _WARM_UP + seconds, cores[-1:])
    with Store.open(database) as store:
        return _compare(store, _sent(log), streams, tls=bool(certificate))


def _drive(folder: Path, url: str, streams: int, seconds: int, cores: Sequence[int]) -> None:
    load = ["--host", url, "--users", str(streams), "--spawn-rate", str(max(10, streams / 2))]
    record = ["--run-time", f"{seconds}s", "--gauge-db", "run.db", "--gauge-inconclusive", "pass"]
    command = programs.locust_command(
        Path("readers.py"), *programs.HEADLESS, *load, *record, "--only-summary", "--loglevel", "ERROR"
    )
    with programs.running(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        programs.pin(process.pid, cores)
        _, errors = process.communicate()
    if not (folder / "run.db").exists():
        raise TargetError(f"the run did not start: {' '.join(errors.strip().splitlines()[-1:])}")


def _sent(log: Path) -> dict[str, _Sent]:
    rows = (msgspec.json.decode(line, type=_Sent) for line in log.read_bytes().splitlines())
    return {row.id: row for row in rows if row.sent}


def _compare(store: Store, sent: dict[str, _Sent], streams: int, *, tls: bool) -> Point:
    run: Run = store.run()
    # Correct only if CLOCK_REALTIME has not been set since the run began; the run's clock drift would show that.
    clock = RunClock.starting_at(run.realtime_ns)
    first_errors, gap_errors, measured_from = [], [], _WARM_UP * 10**9
    for request_id, due_at, events in store.answers(run.id):
        content = events.at[arrivals.is_content(events.kind)] * 1_000
        row = sent.get(request_id)
        if due_at < measured_from or row is None or len(row.sent) != len(content):
            continue
        error = content + clock.origin - np.array(row.sent)
        first_errors.append(error[:1])
        gap_errors.append(np.diff(error))
    if not first_errors:
        raise TargetError(f"none of {streams:,} streams completed in time: the machine is too slow or too busy")
    cpu = store.vital(run.id, Vital.CPU_PERCENT)
    used = float(cpu.value[cpu.at > measured_from].mean()) / 100
    reads = saturated = events_seen = 0.0
    for batch in store.streams(run.id):
        reads += float(np.nansum(batch.number["reads"]))
        saturated += float(np.nansum(batch.number["saturated_reads"]))
        events_seen += int((batch.events.at > measured_from // 1_000).sum())
    seconds = (run.ended_ns or 0) / 1e9 - _WARM_UP
    itl = np.abs(np.concatenate(gap_errors)) / 1e6
    return Point(
        streams=streams,
        tls=tls,
        ttft_error_p99=_round(np.percentile(np.abs(np.concatenate(first_errors)) / 1e6, 99)),
        itl_error_p50=_round(np.percentile(itl, 50)),
        itl_error_p99=_round(np.percentile(itl, 99)),
        events_per_second=round(events_seen / seconds),
        events_per_cpu_second=round(events_seen / seconds / used),
        server_late_p99=_round(np.percentile([(row.sent[0] - (row.due or 0)) / 1e6 for row in sent.values()], 99)),
        saturated_share=round(saturated / reads, 6),
    )


def _round(value: "np.floating[object]") -> float:  # type: ignore[type-var]
    return round(float(value), 4)


def _certificate(folder: Path) -> list[str]:
    """Options of the server: a new self-signed certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        raise ScenarioError("calibrating TLS needs the `openssl` command; install it, or add --plain-only")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]
