"""Runs with every kind of stream at once, drawn at random: for comparing two ways of computing the same figures."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation, content_moments

SECONDS = 20
_KINDS = (Kind.TEXT,) * 12 + (Kind.THINKING, Kind.TOOL, Kind.PING, Kind.OTHER)
_RULES = [
    Sla("p95(ttft) < 1.5s"),
    Sla("p99(itl) < 250ms", where=Where(network="slow_4g")),
    Sla("p95(stall_time) < 1s", where=Where(label={"phase": "first"})),
    Sla("p50(itl) < 30ms", lasting=Duration.parse("10s")),
    Sla("goodput > 50%"),
]


def store(path: Path, random: Random, streams: int) -> None:
    """A database with one run."""
    reader = {
        "characters_per_second": random.choice((24.0, 37.3, 3.3, 1e6)),
        "good": {"ttft": "1s", "longest_stall": "1s"},
    }
    warm_up = random.choice((None, SECONDS * 10**8))
    with Store.create(path) as database:
        database.start_run(
            Run(id="any", scenario="any", host="http://127.0.0.1", started_at="2026-01-01T00:00:00+00:00",
                realtime_ns=0, rules=_RULES, config={"reader": reader}, measured_from=warm_up)
        )  # fmt: skip
        database.append("any", [stream(random, number) for number in range(streams)])
        database.finish_run("any", ended_ns=SECONDS * 10**9, status="finished")


def stream(random: Random, number: int) -> StreamObservation:
    due = random.randrange(SECONDS * 10**9)
    chunks = _chunks(random, due + random.randrange(2 * 10**9))
    end = chunks[-1].at + random.choice((0, 10**6, 10**9)) if chunks else due + random.randrange(10**9)
    outcome = random.choice([*Outcome, *[Outcome.COMPLETED] * 20])
    if random.random() < 0.1 and chunks:
        end = random.choice(chunks).at  # the person left while some was on the link
    maybe = _maybe(random)
    return StreamObservation(
        scenario="any", user=f"User{random.randrange(3)}", protocol="plain", client=random.choice(("wire", "httpx")),
        network=random.choice(("wifi", "slow_4g")), behaviour="patient", sequence=number, due_at=due, ended_at=end,
        answer=random.choice(("streamed",) * 9 + ("whole",)),
        labels=random.choice(({}, {"phase": "first"}, {"phase": "é"})),
        started_at=maybe(due), sent_at=maybe(due + 10**6), headers_at=maybe(due + 2 * 10**6), outcome=outcome,
        arrivals=arrivals.encode(chunks), output_tokens=maybe(random.randrange(300)), send_lag=maybe(60_000),
        cache_read_tokens=random.choice((None, 0, 100)), resume_gap=random.choice((None,) * 30 + (10**8,)), reads=3,
        oddities=random.choice(({},) * 9 + ({"doubled events": 2},)), **content_moments(chunks),
    )  # fmt: skip


def _maybe(random: Random) -> Callable[[int], int | None]:
    return lambda value: value if random.random() < 0.9 else None


def _chunks(random: Random, at: int) -> list[Chunk]:
    link, handed, slow, at_once = (random.random() < share for share in (0.3, 0.3, 0.2, 0.1))
    chunks: list[Chunk] = []
    perceived = at
    for _ in range(random.choice((0, 1, 2, 5, 40, 150))):
        perceived = max(perceived, at + (random.randrange(10**8) if link else 0))
        late = perceived + random.randrange(10**6) if handed and random.random() < 0.9 else None
        chunks.append(Chunk(at, random.choice(_KINDS), random.choice((0, 1, 4, 30)), 120, perceived, late))
        if not at_once:
            at += random.choice((0, 30_000, 10**6, 20 * 10**6, 21_123_456, 10**9 if slow else 10**7))
    return chunks
