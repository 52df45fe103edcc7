"""Runs made by arithmetic: users who ask, wait and ask again, against a server whose speed, slots and faults are known.

A run of some hundred streams takes some milliseconds, so that hundreds can be made to see how often findings are wrong.
`Ask` is one stream; a fault changes asks in place. Times are in seconds since the run began.
"""

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.store import Run, Streams, Texts, VitalSeries
from streamgauge.harness.judge.store.streams import NUMBERS, TEXTS
from streamgauge.harness.judge.verdict import validity
from streamgauge.harness.judge.verdict.findings import Collector, Evidence, Finding, find
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital
from tests.support.record import a_run, observation

Times = NDArray[np.float64]


@dataclass
class Ask:
    """One stream."""

    due: float
    sent: float
    at: Times  # of each chunk, on the wire
    ended: float
    connect: float | None = None  # how long connecting took; None: the connection was there
    seen: Times | None = None  # of each chunk, after the link; None: as on the wire
    outcome: Outcome = Outcome.COMPLETED
    status: int | None = 200
    user: str = "Reader"
    network: str = "none"
    worker: str = "local"
    address: str = "10.0.0.1"
    replica: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    cached: int | None = None  # input tokens that the server read from its cache
    stop_reason: str | None = "end_turn"
    saturated_reads: int = 0
    retry_after: float | None = None
    after_refusal: float | None = None


@dataclass(frozen=True)
class Server:
    ttft: float = 0.4
    itl: float = 0.02
    spread: float = 0.4  # sigma of the logarithm
    tokens: tuple[int, int] = (25, 60)
    pauses: float = 0.001  # share of the gaps that are 20 times as long
    slots: int = 0  # answers at a time, others wait; 0: as many as come
    slowdown: float = 0.0  # how much slower everything is for each answer that is under way
    moods: float = 0.0  # sigma of the logarithm of its speed, which changes every two seconds


@dataclass(frozen=True)
class Users:
    """`at_once` users come evenly within `ramp` seconds; each asks, thinks, and asks again."""

    at_once: int = 12
    ramp: float = 5.0
    think: float = 1.0
    seconds: float = 60.0


SERVER, USERS = Server(), Users()


def asks(seed: int, server: Server = SERVER, users: Users = USERS) -> list[Ask]:
    draw = default_rng(seed)
    moods = np.exp(draw.normal(0, server.moods, int(users.seconds / 2) + 1)).tolist()
    arrivals_of_users = [(users.ramp * place / users.at_once, place, True) for place in range(users.at_once)]
    heapq.heapify(arrivals_of_users)
    free = [0.0] * server.slots
    under_way: list[float] = []  # when each answer will end
    made: list[Ask] = []
    while arrivals_of_users:
        due, user, is_first = heapq.heappop(arrivals_of_users)
        if due >= users.seconds:
            continue
        while under_way and under_way[0] <= due:
            heapq.heappop(under_way)
        slower = (1 + server.slowdown * len(under_way)) * moods[int(due / 2)]
        sent = due + 0.001
        served = max(sent, heapq.heappop(free)) if server.slots else sent
        at = served + _course(draw, server) * slower
        ended = float(at[-1]) + 0.002
        if server.slots:
            heapq.heappush(free, ended)
        heapq.heappush(under_way, ended)
        heapq.heappush(arrivals_of_users, (ended + float(draw.exponential(users.think)), user, False))
        connect = float(draw.uniform(0.001, 0.003)) if is_first else None
        made.append(Ask(due, sent, at, ended, connect, user=f"User{user % 2}", worker=f"worker-{user % 3}"))
        made[-1].address = f"10.0.0.{1 + len(made) % 3}"
    return made


def _course(draw: Generator, server: Server) -> Times:
    """When each token comes, from the moment that the answer is begun, of an idle server."""
    n = int(draw.integers(*server.tokens, endpoint=True))
    waits = np.full(n, server.itl)
    waits[draw.random(n) < server.pauses] *= 20
    waits[0] = server.ttft
    return np.cumsum(waits * draw.lognormal(-(server.spread**2) / 2, server.spread, n))


def streams(made: Sequence[Ask]) -> Streams:
    """As the store would read them."""
    n = len(made)
    number = {name: np.full(n, np.nan) for name in NUMBERS}
    for place, ask in enumerate(made):
        seen = ask.at if ask.seen is None else ask.seen
        values: dict[str, float] = {
            "due_at": ask.due * 1e9,
            "started_at": ask.due * 1e9,
            "sent_at": ask.sent * 1e9,
            "ended_at": ask.ended * 1e9,
            "reads": max(1, len(ask.at)),
            "saturated_reads": ask.saturated_reads,
        }
        if ask.status is not None:
            values["http_status"] = ask.status
        if ask.connect is not None:
            values["connected_at"] = (ask.due + ask.connect) * 1e9
        if len(ask.at):
            values |= {"first_content_wire_at": float(ask.at[0]) * 1e9, "first_content_at": float(seen[0]) * 1e9}
        for name in ("retry_after", "after_refusal"):
            if (seconds := getattr(ask, name)) is not None:
                values[name] = seconds * 1e9
        if ask.cached is not None:
            values["cache_read_tokens"] = ask.cached
        for name, value in values.items():
            number[name][place] = value
    text = {name: [""] * n for name in TEXTS}
    text |= {
        "user": [ask.user for ask in made],
        "network": [ask.network for ask in made],
        "labels": [_json(ask.labels) for ask in made],
        "outcome": [ask.outcome.value for ask in made],
        "answer": ["streamed"] * n,
        "cache": ["" if ask.cached is None else "hit" if ask.cached else "miss" for ask in made],
    }
    # Packing and decoding blobs would take most of the time; those of complete answers are not read one by one.
    columns = {name: Texts.of(column) for name, column in text.items()}
    made_streams = Streams(np.arange(n), columns, number, [_blob(ask) for ask in made])
    made_streams.__dict__["events"] = _events(made)
    return made_streams


def _blob(ask: Ask) -> bytes:
    if ask.outcome is Outcome.COMPLETED:
        return b""
    moments = (np.rint(ask.at * 1e6) * 1000).astype(np.int64).tolist()
    return arrivals.encode([arrivals.Chunk(at, arrivals.Kind.TEXT, 4, 90, at) for at in moments])


def _events(made: Sequence[Ask]) -> arrivals.ContentEvents:
    nothing = [np.zeros(0)]
    at = np.concatenate([*nothing, *(ask.at for ask in made)])
    seen = np.concatenate([*nothing, *(ask.at if ask.seen is None else ask.seen for ask in made)])
    starts = np.cumsum([0, *(len(ask.at) for ask in made)])
    return arrivals.ContentEvents(
        starts,
        np.rint(at * 1e6).astype(np.int64),
        np.rint(seen * 1e6).astype(np.int64),
        np.full(len(at), arrivals.NOT_HANDED),
        np.full(len(at), 4),
    )


def _json(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), sort_keys=True) if labels else "{}"


def evidence(made: Sequence[Ask], vitals: Mapping[Vital, VitalSeries] | None = None) -> Evidence:
    """What findings are computed from, as `judge` would collect it."""
    run: Run = a_run()
    seconds = max((ask.ended for ask in made), default=1.0)
    collector = Collector(seconds, len(made))
    batch = streams(made)
    for half in np.array_split(np.arange(len(made)), 2):
        part = batch.select(half)
        part.__dict__["events"] = _events([made[place] for place in half.tolist()])
        collector.take(part)
    outcomes = {outcome.value: sum(ask.outcome is outcome for ask in made) for outcome in Outcome}
    refused = [ask.status for ask in made if ask.outcome is Outcome.REFUSED]
    series = {vital: VitalSeries([], np.zeros(0), np.zeros(0)) for vital in validity.EVIDENCE}
    return Evidence(
        run=run,
        totals=Totals(
            {outcome: count for outcome, count in outcomes.items() if count},
            {
                "reads": float(batch.number["reads"].sum()),
                "saturated_reads": float(sum(a.saturated_reads for a in made)),
            },
        ),
        failures=[Failure("refused", status, "", refused.count(status)) for status in sorted({*refused}, key=str)],
        vitals=series | dict(vitals or {}),
        validity=validity.Validity.VALID,
        sample=collector.sample(
            {
                "worker": [ask.worker for ask in made],
                "stop_reason": [ask.stop_reason or "" for ask in made],
                "address": [ask.address for ask in made],
                "replica": [ask.replica for ask in made],
            }
        ),
        course=collector.course(),
        broken=collector.broken(),
    )


def vital(seconds: Sequence[float], values: Sequence[float]) -> VitalSeries:
    """Samples of one process."""
    return VitalSeries(["local"] * len(values), np.array(seconds) * 1e9, np.array(values, np.float64))


def found(made: Sequence[Ask], vitals: Mapping[Vital, VitalSeries] | None = None) -> dict[str, Finding]:
    """The findings of such a run, by id."""
    return {finding.id: finding for finding in find(evidence(made, vitals))}


def observations(made: Sequence[Ask]) -> list[StreamObservation]:
    """The same streams as the recorder would hand them over."""
    seen = []
    for number, ask in enumerate(made):
        chunks = [("text", float(at - ask.due) * 1e3) for at in ask.at]
        connected = {} if ask.connect is None else {"connected_at": round((ask.due + ask.connect) * 1e9)}
        perceived = ask.at if ask.seen is None else ask.seen
        seen.append(
            observation(
                chunks,
                outcome=ask.outcome,
                due=ask.due * 1e3,
                ended=(ask.ended - ask.due) * 1e3,
                link=[float(later - at) * 1e3 for later, at in zip(perceived, ask.at, strict=True)] or 0,
                user=ask.user,
                network=ask.network,
                worker=ask.worker,
                address=ask.address or None,
                replica=ask.replica or None,
                labels=ask.labels,
                sequence=number,
                sent_at=round(ask.sent * 1e9),
                http_status=ask.status,
                stop_reason=ask.stop_reason,
                cache_read_tokens=ask.cached,
                reads=max(1, len(ask.at)),
                saturated_reads=ask.saturated_reads,
                **connected,
            )
        )
    return seen
