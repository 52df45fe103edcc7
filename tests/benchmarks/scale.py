"""The right half at full size: storing, judging and reporting a million streams of 200 chunks each.

References in the same run: for the store, bare sqlite3 inserting the same blobs; for judge and report, the time to read
every row of the file once.
"""

import compileall
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import streamgauge
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation, content_moments

STREAMS, CHUNKS = int(os.environ.get("BENCH_STREAMS", "1000000")), 200
DISTINCT = 20_000  # distinct streams; each is stored several times
SECONDS = 600  # duration of the run
BATCH = 500
_NETWORKS = ("wifi", "fast_4g", "slow_4g")
_RULES = [Sla("p95(ttft) < 1.5s"), Sla("p99(itl) < 250ms"), Sla("error_rate < 5%"), Sla("completion_rate > 90%")]


def run() -> dict[str, Any]:
    for folder in ("harness", "reports"):  # pip compiles what it installs; a checkout may be without
        compileall.compile_dir(Path(streamgauge.__path__[0], folder).resolve(), quiet=2)
    made = [_stream(number) for number in range(min(DISTINCT, STREAMS))]
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "scale.db"
        stored = _store(database, made)
        bare = _bare(Path(folder) / "bare.db", made)
        began = time.monotonic()
        with sqlite3.connect(database) as connection:
            for _ in connection.execute("SELECT * FROM streams"):
                pass
        connection.close()
        read = time.monotonic() - began
        judge, judge_mib = _timed("judge", str(database))
        report, report_mib = _timed("report", str(database), "-o", f"{folder}/page.html")
        page = (Path(folder) / "page.html").stat().st_size
        size = database.stat().st_size
    print(
        f"scale: stored {stored:,.0f} streams/s, {stored / bare:.2f} of bare sqlite3; {size / STREAMS:,.0f} bytes each"
    )
    print(f"scale: judge {judge:.1f} s, {judge / read:.1f} × reading the file, {judge_mib:,.0f} MiB")
    print(
        f"scale: report {report:.1f} s, {report / read:.1f} × reading the file, {report_mib:,.0f} MiB, {page:,} bytes"
    )
    return {
        "streams": STREAMS,
        "chunks": CHUNKS,
        "stored_per_second": round(stored),
        "stored_against_bare_sqlite": round(stored / bare, 3),
        "bytes_per_stream": round(size / STREAMS),
        "read_seconds": round(read, 1),
        "judge_seconds": round(judge, 1),
        "judge_mib": round(judge_mib),
        "report_seconds": round(report, 1),
        "report_mib": round(report_mib),
        "page_bytes": page,
    }


def _stream(number: int) -> StreamObservation:
    draw = random.Random(number)
    network = draw.choice(_NETWORKS)
    due = int(draw.random() * SECONDS * 1e9)
    at, chunks = due + int(draw.lognormvariate(-0.9, 0.4) * 1e9), []
    failed = draw.random() < 0.02
    for _ in range(CHUNKS if not failed else draw.randrange(CHUNKS)):
        chunks.append(Chunk(at, Kind.TEXT, draw.randint(1, 9), draw.randint(118, 126), at))
        at += int(draw.lognormvariate(-4.1, 0.5) * 1e9)
    return StreamObservation(
        scenario="scale", user=f"User{draw.randrange(5)}", protocol="anthropic_messages", client="wire",
        network=network, behaviour="patient", sequence=number, due_at=due, started_at=due, sent_at=due + 10**6,
        headers_at=due + 2 * 10**6, ended_at=at, outcome=Outcome.TRUNCATED if failed else Outcome.COMPLETED,
        detail="the answer ended without its terminal event" if failed else "", http_status=200,
        body_bytes=24_000, arrivals=arrivals.encode(chunks), output_tokens=CHUNKS, request_id=f"req_{number:024x}",
        send_lag=60_000, reads=len(chunks), read_lag_mean=80_000, read_lag_max=900_000, **content_moments(chunks),
    )  # fmt: skip


def _batches(made: Sequence[StreamObservation]) -> Any:
    for start in range(0, STREAMS, BATCH):
        yield [made[number % len(made)] for number in range(start, min(start + BATCH, STREAMS))]


def _store(path: Path, made: Sequence[StreamObservation]) -> float:
    """Streams per second with one transaction per batch, as in a run."""
    now = time.time_ns()
    with Store.create(path) as store:
        store.start_run(
            Run(id="scale", scenario="scale", host="http://127.0.0.1", started_at="2026-01-01T00:00:00+00:00",
                realtime_ns=now, rules=_RULES, instrument={"stamps": "kernel"})
        )  # fmt: skip
        began = time.monotonic()
        for batch in _batches(made):
            store.append("scale", batch)
        took = time.monotonic() - began
        store.finish_run("scale", ended_ns=SECONDS * 10**9, status="finished")
    return STREAMS / took


def _bare(path: Path, made: Sequence[StreamObservation]) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    names = [name for name in StreamObservation.__struct_fields__ if name not in {"labels", "oddities"}]
    connection.execute(f"CREATE TABLE streams ({', '.join(names)})")
    marks = ", ".join("?" * len(names))
    began = time.monotonic()
    for batch in _batches(made):
        connection.execute("BEGIN")
        rows = [[row[name] for name in names] for row in map(msgspec.structs.asdict, batch)]
        connection.executemany(f"INSERT INTO streams VALUES ({marks})", rows)
        connection.execute("COMMIT")
    took = time.monotonic() - began
    connection.close()
    return STREAMS / took


def _timed(*words: str) -> tuple[float, float]:
    """Duration (s) and peak memory (MiB) of a streamgauge command, with that of the process which reads for it."""
    code = (
        "import resource, sys; from streamgauge.harness.entry import main\n"
        "try: main()\n"
        "finally: print('PEAK', sum(resource.getrusage(who).ru_maxrss for who in (0, -1)), file=sys.stderr)"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    assert ended.returncode in {0, 1, 3}, ended.stderr
    return took, int(ended.stderr.rpartition("PEAK ")[2].split()[0]) / 1024
