"""Visits to the levels of a run that goes on: orders the users, waits for their streams, and sums each visit up."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamgauge.harness.capacity import backlog
from streamgauge.harness.capacity.driven import Driven
from streamgauge.harness.capacity.found import Level
from streamgauge.harness.capacity.guards import Ended, Guards
from streamgauge.harness.capacity.path import Order, Purpose, Visited
from streamgauge.harness.capacity.per_stream import Judging
from streamgauge.harness.capacity.rows import Rows, in_order, settling
from streamgauge.harness.capacity.sequential import ROUNDS, Count, Outcome, Visit
from streamgauge.harness.capacity.streams import Batch
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.capacity.window import Doubts, Measured, Window
from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.figures import finite
from streamgauge.harness.judge.store import Store, Streams, VitalSeries
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.observation import FAILURES
from streamgauge.harness.record.observation import Outcome as Ending
from streamgauge.harness.record.vitals import Vital

_EVERY = 0.2  # seconds between two looks into the database
_LOOKS_AGAIN = 1.0  # seconds between two looks at whether the run still stores anything
_SILENT = 20.0  # seconds; it does every second, on a busy machine every few
_ALL_FAILED = 20  # streams one after another: the server may be dead
_STARTING = 60.0  # seconds in which all users of a level must run, beside those that it takes to start them
_SPAWN_RATE = 50.0  # users a second, at least
_DRAINED = 0.05  # share of the streams of a backlog that may still be open when the next level begins
_FILLED = (3, 30)  # streams of an open load that tell how long an answer takes, and so when a level is filled
_FILLING = 5.0  # seconds: between these bounds, as many as become due in this time


@dataclass
class Visits:
    """Of one search."""

    store: Store
    driven: Driven
    rows: Rows
    judging: Judging
    reader: Reader
    guards: Guards
    patience: float  # seconds after which a stream that began must have ended
    unit: Unit
    last_all_failed: bool = False  # whether the last streams of the visit before did
    heard: "Heard" = field(default_factory=lambda: Heard(0.0, time.monotonic(), time.monotonic()))

    def level(self, order: Order) -> Iterator["Looked"]:
        """What is seen of a level for as long as it is asked for: the streams as they end, a batch at a time."""
        reached, users = self._reach(order), self._users(order)
        seen: list[Streams] = []
        begins: int | None = None
        heard = time.monotonic()
        while True:
            self._wait(users)
            if begins is None and (took := self._settles(order, reached)) is not None:
                begins = reached + int(took)
            streams = None if begins is None else self.rows.take(begins)
            grows = begins is not None and self._grows(order, begins)
            if begins is not None and (streams is not None or (grows and seen)):
                heard = time.monotonic()
                seen.append(streams or seen[-1].select(np.zeros(0, np.int64)))
                self._check_alive(seen)
                yield Looked(self.judging.batch(seen[-1]), seen, begins, grows)
            elif time.monotonic() - heard > self.patience:
                amount = self.unit.amount(order.users)
                raise Ended(f"no stream that began at {amount} has ended for {self.patience:,.0f} s")

    def _wait(self, users: int) -> None:
        """Let a moment pass, and read what was stored. Ended if a guard is reached, or nothing is stored any more."""
        self.guards.check(self.rows.streams, users)
        self.driven.wait(_EVERY)
        self.rows.read()
        if time.monotonic() - self.heard.when > _LOOKS_AGAIN:
            sampled = self.store.vital(self.driven.run, Vital.USERS)
            self.heard = self.heard.after(dict(zip(sampled.worker, sampled.at.tolist(), strict=True)))

    def _reach(self, order: Order) -> int:
        """When so many users ran, ns on the run's clock."""
        self.guards.check(self.rows.streams, self._users(order))
        if self.unit is Unit.RATE and order.cool_down:
            self._drain()
        return self._load(order.users)

    def _load(self, load: int) -> int:
        """Have this load. Returns since when it is there, ns on the run's clock."""
        self.driven.load(self.unit, load)
        give_up = time.monotonic() + _STARTING + load / _SPAWN_RATE
        while (reached := self.driven.reached) is None or reached.load != load:
            self._wait(0)
            if time.monotonic() > give_up:
                raise Ended(
                    f"{self.unit.amount(load)} could not be reached: the scenario allows fewer, or its users end by "
                    f"themselves"
                )
        return reached.at

    def _drain(self) -> None:
        """Let the backlog of an open load be answered. Else the streams of the next level would wait behind it."""
        since = self._load(0)
        most, give_up = 0.0, time.monotonic() + self.patience
        while not len(opened := self._open(since).value) or opened[-1] > _DRAINED * most:
            most = max(most, *opened, 0.0)
            self._wait(0)
            if time.monotonic() > give_up:
                raise Ended(f"the streams of the level before were still open after {self.patience:,.0f} s")

    def _settles(self, order: Order, reached: int) -> float | None:
        """How long the level must be left alone since it was reached, ns; None: it is not known yet."""
        if self.unit is Unit.USERS:
            took = self.rows.answer_time(reached, order.users)
            return None if took is None else settling(took, after_trouble=order.cool_down)
        fewest, most = _FILLED
        took = self.rows.longest(reached, min(max(fewest, round(self.unit.shown(order.users) * _FILLING)), most))
        return None if took is None else settling(took, after_trouble=False)

    def _grows(self, order: Order, begins: int) -> bool:
        """Whether more and more streams of an open load are open at once."""
        if self.unit is Unit.USERS:
            return False
        opened = self._open(begins)
        return backlog.grows(opened.at / 1e9, opened.value, self.unit.shown(order.users))

    def _open(self, since: int) -> VitalSeries:
        """How many streams were open at once, once a second since then. An open load runs in one process."""
        samples = self.store.vital(self.driven.run, Vital.ACTIVE_STREAMS)
        chosen = np.flatnonzero(samples.at >= since)
        return VitalSeries([samples.worker[place] for place in chosen], samples.at[chosen], samples.value[chosen])

    def fewest(self, order: Order) -> int:
        """How many streams there must be before the first look at this level."""
        if self.unit is Unit.USERS:
            return ROUNDS * order.users
        seconds = backlog.AT_LEAST if order.purpose is Purpose.CLIMB else backlog.watched(self.judging.longest_wait)
        return math.ceil(seconds * self.unit.shown(order.users))

    def _users(self, order: Order) -> int:
        """How many streams may be open at once because of this order; 1 if it does not tell."""
        return order.users if self.unit is Unit.USERS else 1

    def _check_alive(self, seen: list[Streams]) -> None:
        """Ended if nothing but failures came since before this visit, although it is no larger than the one before."""
        if self.last_all_failed and all(streams.ended_as(FAILURES).all() for streams in seen):
            count = sum(map(len, seen))
            if count >= _ALL_FAILED:
                raise Ended("the server has answered nothing since: each of the last streams failed")

    def over(self, order: Order, visit: Visit, outcome: Outcome, looked: "Looked") -> tuple[Visited, Level]:
        """Sum a visit up whose outcome is clear."""
        streams = in_order(looked.seen)
        users = order.users if self.unit is Unit.USERS else 0
        due, ended = (streams.number[name] for name in ("due_at", "ended_at"))
        window = Window(self.store.run(self.driven.run), users, looked.begins, int(due.max()), int(ended.max()))
        measured = Measured(streams, self.judging.rules, self.reader)
        counts = visit.counts()
        doubt = self._doubt(order, outcome, measured.doubts(self.store, window), counts, streams)
        if doubt and outcome is Outcome.PASSED:
            outcome = Outcome.UNDECIDED
        self.last_all_failed = bool(streams.ended_as(FAILURES)[-_ALL_FAILED:].all())
        widest = max(counts, key=lambda count: (count.limit.share, count.streams))
        seconds = (window.last_due - looked.begins) / 1e9
        level = Level(
            users=order.users,
            verdict=outcome,
            streams=widest.streams,
            bad=widest.bad,
            effective=round(widest.effective, 1),
            purpose=order.purpose,
            begins=window.begins / 1e9,
            ends=window.last_due / 1e9,
            backlog=looked.grows,
            generator=doubt or None,
            rules=measured.rules(window.seconds),
            ttft_p95=finite(measured.p95("ttft")),
            itl_p95=finite(measured.p95("itl")),
            completions=measured.completed / seconds if seconds > 0 else None,
            error_rate=measured.failed,
        )
        return Visited(order, outcome, counts, doubt, backlog=looked.grows), level

    def _doubt(self, order: Order, outcome: Outcome, doubts: Doubts, counts: Sequence[Count], streams: Streams) -> str:
        """Why the load generator may have changed the outcome; "" if it cannot have: it makes waits longer, no more."""
        if outcome is Outcome.PASSED:
            return doubts.of_good
        if doubts.validity is Validity.VALID:
            return ""
        server_alone = _by_refusals(counts, streams) or as_bad_once_sent(self.judging, streams, order, outcome)
        return "" if doubts.validity is Validity.DEGRADED and server_alone else doubts.why


def as_bad_once_sent(judging: Judging, streams: Streams, order: Order, outcome: Outcome) -> bool:
    """Whether the visit ends as badly if each stream is taken as due when it was sent."""
    waits = judging.waits_since_sent(streams)
    if waits is None:
        return False
    limits, batch = waits
    once_sent = Visit(0, limits, order.rigour).after(batch, order.among(limits))
    return (once_sent or Outcome.UNDECIDED) in {outcome, Outcome.MISSED}


def _by_refusals(counts: Sequence[Count], streams: Streams) -> bool:
    """Whether the server itself refused or broke off too many streams."""
    refused = float(streams.ended_as(FAILURES - {Ending.UNREACHABLE, Ending.TIMED_OUT}).mean())
    return any(count.outcome is Outcome.MISSED and refused > 1.5 * count.limit.share for count in counts)


class Heard(NamedTuple):
    """The latest figures that the run's processes have of themselves, and store every second."""

    at: float  # of the sample of the process that is farthest behind, ns on the run's clock
    since: float  # when the search first saw it, monotonic seconds
    when: float  # when the search looked last

    def after(self, latest: Mapping[str, float]) -> "Heard":
        """After another look. Ended if a process stores nothing any more: nobody would see what its streams do.

        `latest`: by process, when its last sample was taken, ns on the run's clock.
        """
        now, at = time.monotonic(), min(latest.values(), default=0.0)
        if at > self.at:
            return Heard(at, now, now)
        if now - self.since > _SILENT and at < max(latest.values(), default=0.0) - _SILENT / 2 * 1e9:
            raise Ended(
                f"nothing has come from {min(latest, key=lambda process: latest[process])} for {_SILENT:.0f} s: "
                f"that process was killed, or stands still"
            )
        if now - self.since > _SILENT:
            raise Ended(
                f"the run has stored nothing for {_SILENT:.0f} s: the database cannot be written, as on a full disk, "
                f"or the run's process stands still"
            )
        return Heard(self.at, self.since, now)


@dataclass(frozen=True, slots=True)
class Looked:
    """What came since the last look, and all that was seen of the visit."""

    batch: Batch
    seen: list[Streams]
    begins: int  # of what counts, ns on the run's clock
    grows: bool  # an open load: the backlog does

    @property
    def seconds(self) -> float:
        """From the first of these streams to the last."""
        return max((float(streams.number["due_at"].max(initial=0)) for streams in self.seen), default=0) / 1e9 - (
            self.begins / 1e9
        )
