"""Observations, runs and databases as tests write them: times in milliseconds, only what matters given."""

import tempfile
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import Chunk, Kind
from streamgauge.harness.record.observation import Outcome, StreamObservation, content_moments

MS = 1_000_000


def observation(
    chunks: Sequence[tuple[str, float]] = (("text", 100), ("text", 120), ("text", 140)),
    *,
    outcome: Outcome = Outcome.COMPLETED,
    due: float = 0,
    ended: float | None = None,
    link: float | Sequence[float] = 0,
    **fields: Any,
) -> StreamObservation:
    """A stream due at `due` whose chunks are (kind, ms after that), each `link` ms later for the person."""
    links = link if isinstance(link, Sequence) else [link] * len(chunks)
    blob, moments = _arrived(tuple(chunks), due, tuple(links))
    last = chunks[-1][1] + links[-1] if chunks else 0.0
    given = {
        "scenario": "chat",
        "user": "Reader",
        "protocol": "anthropic_messages",
        "client": "wire",
        "network": "none",
        "behaviour": "patient",
        "due_at": int(due * MS),
        "started_at": int(due * MS),
        "sent_at": int((due + 1) * MS),
        "ended_at": int((due + (last if ended is None else ended)) * MS),
        "outcome": outcome,
        "arrivals": blob,
        **moments,
        **fields,
    }
    return StreamObservation(**given)


@lru_cache(10_000)  # tests make the same streams again and again
def _arrived(
    chunks: tuple[tuple[str, float], ...], due: float, links: tuple[float, ...]
) -> tuple[bytes, dict[str, Any]]:
    """What is stored of the chunks of `observation`."""
    seen = tuple(
        Chunk(int((due + at) * MS), Kind(kind), 4, 90, int((due + at + later) * MS))
        for (kind, at), later in zip(chunks, links, strict=True)
    )
    return arrivals.encode(seen), content_moments(seen)


def ttfts(milliseconds: Iterable[float], **fields: Any) -> list[StreamObservation]:
    """One stream each, with three tokens from this TTFT on."""
    return [observation([("text", ttft), ("text", ttft + 20), ("text", ttft + 40)], **fields) for ttft in milliseconds]


def a_run(**fields: Any) -> Run:
    given = {
        "id": "run-1",
        "scenario": "chat",
        "host": "http://127.0.0.1:1",
        "started_at": "2026-11-23T09:00:00+00:00",
        "realtime_ns": 1_795_424_400_000_000_000,
        **fields,
    }
    return Run(**given)


def a_run_of_probes(target: str, **fields: Any) -> Run:
    """A run as a monitor's prober of this target makes it."""
    load = {"fingerprint": {"load": {"users": 3, "arrivals": "every:60s"}}}
    return a_run(**load | fields | {"labels": {**fields.get("labels", {}), "target": target}})


@cache
def _empty_database() -> bytes:
    """An empty file with our schema, made once: most of the cost of a small database is its migrations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Store.create(path).close()
        return path.read_bytes()


def new_store(path: Path) -> Store:
    """The database at this path, made if it is missing, and open for writing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_database())
    return Store.create(path)


def database(path: Path, observations: Sequence[StreamObservation], **fields: Any) -> Path:
    """A file with one finished run of 10 s."""
    with new_store(path) as store:
        run = a_run(**fields)
        store.start_run(run)
        store.append(run.id, observations)
        store.finish_run(run.id, ended_ns=10_000 * MS, status="finished")
    return path


def judged(path: Path, observations: Sequence[StreamObservation], *rules: str | Sla, **fields: Any) -> Judgement:
    """The judgement of a run of these streams by these rules."""
    slas = [Sla(rule=rule) if isinstance(rule, str) else rule for rule in rules]
    with Store.open(database(path, observations, **fields)) as store:
        return judge(store, rules=parse_all(slas))
