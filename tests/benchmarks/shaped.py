"""People on slow links: errors of their times, and the effect of very slow readers on others.

Users on fast 4G, slow 4G and 3G in one Locust process, with the benchmark's server at 50 events per second and stream.
Wire times are compared with the server's log. Perceived times are compared with the link model: the same link, drawn
again from its seed, is fed with the times of the server's log.

Neighbours: 50 patient users of the reference server, alone and beside 200 readers at 2 KB/s.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.drive import network
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock

from .arena import READERS, Window, locust, medians, watch
from .server import Row

AT_ONCE = (200, 500, 700, 1000)  # users who ask all the time
READING = 1000  # users who read each answer
WARM_UP, READING_WARM_UP, SECONDS = 8.0, 80.0, 10.0
NEIGHBOURS_SECONDS = 40
ROUNDS = 3


def run(at_once: Sequence[int] = AT_ONCE, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds for users who ask all the time; one round of the other two."""
    found: dict[str, Any] = {}
    for size in at_once:
        found[f"{size}_at_once"] = middle = medians([users(size) for _ in range(rounds)])
        print(_line(f"{size:,} at once", middle), flush=True)
    found[f"{READING}_reading"] = users(READING, reading=True)
    print(_line(f"{READING:,} reading", found[f"{READING}_reading"]), flush=True)
    found["neighbours"] = neighbours()
    print("shaped: " + "  ".join(f"{name} {value}" for name, value in found["neighbours"].items()), flush=True)
    return found


def users(size: int, *, reading: bool = False) -> dict[str, float]:
    """One round."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "run.db"
        # Readers start one after another; otherwise they would all ask at once again and again.
        window = watch(
            locust(READERS / "shaped.py", size, database, ["-r", str(size / 30)] if reading else []),
            warm_up=READING_WARM_UP if reading else WARM_UP,
            seconds=SECONDS,
            environment={"BENCHMARK_READING": "1"} if reading else {},
        )
        return {
            "events_per_second": round(window.server["events"] / SECONDS),
            "cpu_percent": round(window.cpu / SECONDS * 100, 1),
            **_errors(window, database),
            "server_late_p99_ms": window.server["late_p99_ms"],
        }


def _errors(window: Window, database: Path) -> dict[str, float]:
    """P99 errors in ms, over the streams that began and ended in the window."""
    wire_first, wire_gaps, person_first, person = [], [], [], []
    left_out = 0
    with Store.open(database) as store:
        origin = RunClock.starting_at(store.run().realtime_ns).origin
    for row, seen in _streams(database):
        truth = window.sent.get(int(row["request_id"][4:]))
        started = row["started_at"] + origin
        if truth is None or row["due_at"] + origin < window.begin or row["ended_at"] + origin > window.end:
            continue
        content = arrivals.is_content(seen.kind)
        at, perceived = seen.at[content] * 1_000 + origin, seen.perceived_at[content] * 1_000 + origin
        if len(at) != len(truth.at):
            left_out += 1
            continue
        wire_first.append((at[0] - row["sent_at"] - origin) - (truth.at[0] - truth.began))
        wire_gaps.append(np.diff(at) - np.diff(truth.at))
        there, shown = _modelled(row, seen, truth, started)
        person.append(perceived - shown)
        person_first.append((perceived[0] - row["due_at"] - origin) - (there + shown[0] - truth.began))
    if not wire_first:
        return {"streams_judged": 0, "streams_left_out": left_out}
    return {
        "wire_ttft_error_p99_ms": _p99(np.array(wire_first)),
        "wire_itl_error_p99_ms": _p99(np.concatenate(wire_gaps)),
        "person_ttft_error_p99_ms": _p99(np.array(person_first)),
        "person_error_p99_ms": _p99(np.concatenate(person)),
        "streams_judged": len(wire_first),
        "streams_left_out": left_out,
    }


def _modelled(row: dict[str, Any], seen: arrivals.Columns, truth: Row, started: int) -> tuple[int, NDArray[np.int64]]:
    """What the link model says: the request's time to the server, and when the person gets each token that was sent.

    Tokens that were read together are one delivery here too, since the link draws once per delivery.
    """
    labels = json.loads(row["labels"])
    link = network.Link(network.find(row["network"]), int(labels["link"]))
    there = link.handshake() if row["connected_at"] is not None else 0
    there += link.request(int(labels["bytes"]))
    content = arrivals.is_content(seen.kind)
    first = int(np.argmax(content))
    link.deliver(truth.began - started, int(seen.size[:first].sum()))
    ends = np.flatnonzero(np.diff(seen.at[content], append=-1))  # last chunk of each read
    sizes = np.add.reduceat(seen.size[content], np.concatenate([[0], ends[:-1] + 1]))
    reads = zip(truth.at[ends].tolist(), sizes.tolist(), strict=True)
    way = np.array([started + link.deliver(at - started, size) - at for at, size in reads])
    return there, truth.at + np.repeat(way, np.diff(ends, prepend=-1))


def _streams(database: Path) -> Iterator[tuple[dict[str, Any], arrivals.Columns]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM streams WHERE outcome = 'completed'"):
            yield dict(row), arrivals.columns(row["arrivals"])


def _p99(errors: NDArray[np.int64]) -> float:
    return round(float(np.percentile(np.abs(errors), 99)) / 1e6, 3)


def neighbours() -> dict[str, float]:
    """One round: the patient users' ITL alone and beside the slow ones, and how often the server paused a stream."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        options = ["--preset", "exact", "--tokens", "5000", "--send-buffer", "16384"]
        command = [sys.executable, "-m", "streamgauge.reference_server", "--port", "0", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                os.sched_setaffinity(server.pid, cores[-1:])
                assert server.stdout is not None
                url = server.stdout.readline().rpartition(" ")[2].strip()
                paused = _drive(Path(folder), url, cores[:1])
            finally:
                server.terminate()
        parts = json.loads((Path(folder) / "run.json").read_text())["parts"]
    itl = {part["value"]: part["itl"] for part in parts if part["key"] == "phase"}
    return {
        "itl_p99_alone_ms": round(itl["alone"]["p99"], 3),
        "itl_p99_beside_ms": round(itl["beside"]["p99"], 3),
        "beside_to_alone": round(itl["beside"]["p99"] / itl["alone"]["p99"], 3),
        "gaps_alone": itl["alone"]["n"],
        "gaps_beside": itl["beside"]["n"],
        "times_held_back": paused,
    }


def _drive(folder: Path, url: str, cores: Sequence[int]) -> float:
    """Run the scenario. Returns the server's count of pauses shortly before its end."""
    command = [sys.executable, "-m", "locust", "-f", str(READERS / "neighbours.py"), "--headless", "--only-summary"]
    command += ["-H", url, "--run-time", f"{NEIGHBOURS_SECONDS}s", "--loglevel", "ERROR", "--gauge-db", "run.db"]
    command += ["--gauge-json", "run.json", "--gauge-inconclusive", "pass", "--gauge-progress"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.sched_setaffinity(process.pid, cores)
        time.sleep(NEIGHBOURS_SECONDS - 2)
        with urllib.request.urlopen(f"{url}/metrics") as page:
            text = page.read().decode()
    return float(re.findall(r"^reference_streams_paused_total (\S+)", text, re.MULTILINE)[0])


def _line(who: str, found: dict[str, float]) -> str:
    if not found.get("streams_judged"):
        return f"shaped: {who:<14}no stream was complete"
    return (
        f"shaped: {who:<14}wire: TTFT error p99 {found['wire_ttft_error_p99_ms']:.3f} ms, "
        f"ITL {found['wire_itl_error_p99_ms']:.3f} ms  person: TTFT {found['person_ttft_error_p99_ms']:.3f} ms, "
        f"each chunk {found['person_error_p99_ms']:.3f} ms  ({found['events_per_second']:,.0f} events/s, "
        f"{found['cpu_percent']:.0f} % of a core, {found['streams_judged']:.0f} streams, "
        f"{found['streams_left_out']:.0f} left out)"
    )
