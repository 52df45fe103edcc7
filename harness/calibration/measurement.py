"""How far this machine's times are off: real runs against the reference server, held to the server's own log.

Starts both as processes, on a core each where there are two. The server's stamps and the kernel's are of one clock,
so an error is a plain difference: what we recorded minus when the server had sent it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from streamgauge import __version__
from streamgauge.harness.calibration import resolution
from streamgauge.harness.calibration.resolution import Calibration, Point
from streamgauge.harness.errors import ScenarioError, TargetError
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital

STREAMS = (50, 200, 500, 1000)
_WARM_UP = 3  # seconds, until every user has begun
_TOKENS = 100  # an answer, at 50 a second
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
    """A row of the server's log. Times are CLOCK_MONOTONIC ns."""

    id: str
    due: int | None
    sent: list[int]


def calibrate(
    streams: Sequence[int], seconds: int, kinds: Sequence[bool], tell: Callable[[Point], None]
) -> Calibration:
    """Measure at each number of streams, over plain HTTP and TLS as `kinds` says (False, True), telling each result.

    TargetError when a server or a run does not come about, ScenarioError when TLS is asked for without `openssl`.
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
                tell(points[-1])
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
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    command = [sys.executable, "-m", "streamgauge.reference_server", "--port", "0", "--preset", "exact"]
    command += ["--tokens", str(_TOKENS), "--truth", str(log), *certificate]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            _pin(server.pid, cores[:1])
            assert server.stdout is not None
            url = server.stdout.readline().rpartition(" ")[2].strip()  # empty when it died, having said why
            if not url:
                raise TargetError("the reference server did not start")
            _drive(folder, url, streams, _WARM_UP + seconds, cores[-1:])
        finally:
            server.terminate()
    with Store.open(database) as store:
        return _compare(store, _sent(log), streams, tls=bool(certificate))


def _drive(folder: Path, url: str, streams: int, seconds: int, cores: Sequence[int]) -> None:
    command = [sys.executable, "-m", "locust", "-f", "readers.py", "--headless", "--host", url, "--only-summary"]
    command += ["-u", str(streams), "-r", str(max(10, streams / 2)), "-t", f"{seconds}s", "--loglevel", "ERROR"]
    command += ["--gauge-db", "run.db", "--gauge-inconclusive", "pass", "--gauge-progress"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        _pin(process.pid, cores)
        _, said = process.communicate()
    if not (folder / "run.db").exists():
        raise TargetError(f"the run did not come about: {said.strip().splitlines()[-1:]}")


def _pin(process: int, cores: Sequence[int]) -> None:
    """Keep the two out of each other's way, where the system lets us."""
    if cores:
        os.sched_setaffinity(process, cores)


def _sent(log: Path) -> dict[str, _Sent]:
    rows = (msgspec.json.decode(line, type=_Sent) for line in log.read_bytes().splitlines())
    return {row.id: row for row in rows if row.sent}


def _compare(store: Store, sent: dict[str, _Sent], streams: int, *, tls: bool) -> Point:
    run: Run = store.run()
    # CLOCK_REALTIME has not been stepped since the run began, or the run's own drift would show it.
    clock = RunClock.starting_at(run.realtime_ns)
    first, gaps, begun = [], [], _WARM_UP * 10**9
    for request_id, due_at, events in store.answers(run.id):
        content = events.at[arrivals.is_content(events.kind)] * 1_000
        row = sent.get(request_id)
        if due_at < begun or row is None or len(row.sent) != len(content):
            continue
        off = content + clock.origin - np.array(row.sent)
        first.append(off[:1])
        gaps.append(np.diff(off))
    if not first:
        raise TargetError(f"no stream of {streams:,} completed in time: the machine is too slow, or too busy")
    cpu = store.vital(run.id, Vital.CPU_PERCENT)
    used = float(cpu.value[cpu.at > begun].mean()) / 100
    reads = saturated = events_seen = 0.0
    for batch in store.streams(run.id):
        reads += float(np.nansum(batch.number["reads"]))
        saturated += float(np.nansum(batch.number["saturated_reads"]))
        events_seen += int((batch.events.at > begun // 1_000).sum())
    seconds = (run.ended_ns or 0) / 1e9 - _WARM_UP
    itl = np.abs(np.concatenate(gaps)) / 1e6
    return Point(
        streams=streams,
        tls=tls,
        ttft_error_p99=_round(np.percentile(np.abs(np.concatenate(first)) / 1e6, 99)),
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
    """A key and a self-signed certificate for loopback, as options of the server."""
    if shutil.which("openssl") is None:
        raise ScenarioError("calibrating TLS needs the `openssl` command; install it, or add --plain-only")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]
