"""One round of the monitor's judge: reads the probes that are new, and begins and ends incidents by them.

A round is one transaction with the incidents, their alerts and how far the probes have been read. So whenever the
process is killed, each probe is counted once, and each alert is queued once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from streamgauge.harness.config.schema import Config
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.store.connection import Connection
from streamgauge.harness.judge.store.monitored import MonitorStore, New
from streamgauge.harness.monitor import retention
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.good import UNKNOWN
from streamgauge.harness.monitor.hours import Hours
from streamgauge.harness.monitor.incidents import Firing
from streamgauge.harness.monitor.ledger import Seen
from streamgauge.harness.monitor.levels import Level
from streamgauge.harness.monitor.maintenance import covers
from streamgauge.harness.monitor.series import MINUTE
from streamgauge.harness.monitor.watch import Surroundings, Watch
from streamgauge.harness.record.observation import Outcome

MOST = 5_000  # probes that one round reads
_GRACE = 3.0  # seconds after a minute's end at which its probes are surely stored
_TELL_EVERY = 10.0  # seconds: how often it is written that the judge lives
_AHEAD = 5  # minutes: what was evaluated further ahead was so by a clock that went wrong
_PATIENCE = 3  # gaps between two probes after which a target is silent
_LATE = 1e9  # ns: a probe that this machine sent so much too late is no sign that all is well with it
_LATEST = 20  # probes of each target by which the time to the next is guessed
_MISSED = 3 * 86_400 // MINUTE  # minutes: of what was not evaluated for longer, only the end is


class Judged(NamedTuple):
    """What a round did."""

    probes: int  # that it read
    unread: Sequence[str]  # why rows were left out, a sentence each
    alerts: Sequence[Alert]  # that it queued
    more: bool = False  # whether more probes may be waiting
    in_time: bool = False  # whether each target was probed lately
    silent: Sequence[str] = ()  # targets that were not probed for much too long, since this process began
    news: Sequence[str] = ()  # sentences: of each target's first probe since this process began, of damaged incidents


Put = Callable[[Connection], Callable[[Alert, float], object]]


class Judge:
    def __init__(self, store: MonitorStore, config: Config, levels: Sequence[Level], put: Put) -> None:
        """`put` makes what queues an alert over a connection. After a StoreError of `round`, make another Judge."""
        self._store = store
        self._config = config
        self._levels = levels
        self._put = put
        self._targets = {target.name for target in config.monitor.target}
        self._watch: Watch | None = None
        self._hours = Hours()
        self._began: float | None = None  # when the first round was, seconds since 1970
        self._now = 0.0  # of the latest round
        self._cursor, self._written_at = 0, 0.0  # what the latest round that wrote something has written
        self._news: list[str] = []
        self._ended: dict[str, deque[float]] = {name: deque(maxlen=_LATEST) for name in self._targets}

    def round(self, now: float) -> Judged:
        """Read what is new, and evaluate the minutes that are over at `now`, seconds since 1970."""
        self._began, self._now = self._began or now, now
        evaluated = now // MINUTE if self._watch is None else self._watch.evaluated
        if not now // MINUTE - _MISSED <= evaluated <= now // MINUTE + _AHEAD:
            self._watch = None  # the clock was set back, or far forward: go on from now
            for ended in self._ended.values():
                ended.clear()
        due = self._watch is None or self._is_due(self._watch, now)
        found = self._written(now) if due else Judged(0, (), ())
        if found.more:
            return found
        silent = [target for target in self._ended if self._late(target, now, self._began)]
        return found._replace(in_time=self._in_time(now), silent=silent)

    def _is_due(self, watch: Watch, now: float) -> bool:
        """Whether there is something to write, without a lock. Once in a while there is in any case: that we live."""
        return (
            abs(now - self._written_at) >= _TELL_EVERY
            or watch.evaluated < _last_minute(now)
            or self._store.has_streams(self._cursor)
        )

    def _written(self, now: float) -> Judged:
        with self._store.transaction() as connection:
            watch = self._watch = self._watch or self._loaded(connection, now)
            if (gap := retention.note_gap(connection, self._config.monitor.keep_raw / 1e9, now)) is not None:
                self._news.append(gap)
            latest = self._store.new_streams(self._store.number("cursor", 0), MOST)
            for each in latest.new:
                self._take(watch, each)
            if not latest.more:  # else the minutes up to now may have more
                watch.advance(_last_minute(now))
            watch.save()
            self._hours.save(connection)
            state = {"cursor": latest.last, "evaluated": watch.evaluated, "judged_at": now}
            if self._in_time(now):
                state["probed_at"] = now
            connection.executemany("INSERT OR REPLACE INTO monitor_state VALUES (?, ?)", state.items())
        self._cursor, self._written_at = latest.last, now
        news, self._news = self._news, []
        probes = sum(len(each.streams) for each in latest.new)
        return Judged(probes, latest.unread, watch.take_alerts(), latest.more, news=news)

    def _in_time(self, now: float) -> bool:
        return not any(self._late(target, now, 0.0) for target in self._ended)

    def _late(self, target: str, now: float, since: float) -> bool:
        """Whether no probe of a target has ended for much too long; `since`: when to begin counting."""
        ended = self._ended[target]
        gap = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else 0.0
        patience = _PATIENCE * max(self._config.monitor.every / 1e9, gap)
        return now - max([since, *ended]) > patience + self._config.target.timeouts.total / 1e9 + MINUTE

    def thin(self) -> None:
        """Drop what no window needs any more."""
        if self._watch is not None:
            with self._store.transaction() as connection:
                if not retention.is_in_gap(connection, self._config.monitor.keep_raw / 1e9, self._now):
                    self._watch.thin()

    def _loaded(self, connection: Connection, now: float) -> Watch:
        before = int(now // MINUTE) - 1
        evaluated = min(max(self._store.number("evaluated", before - 1), before - _MISSED), before)
        around = Surroundings(
            monitor=self._store.value("id", "monitor"),
            put=self._putting(connection),
            in_maintenance=partial(covers, self._config.monitor.maintenance),
            link=partial(_link, self._config.monitor.url),
        )
        connection.execute("DELETE FROM monitor_counts WHERE minute > ?", [before + _AHEAD])  # of a wrong clock
        watch = Watch(connection, self._levels, around, evaluated, now)
        self._news.extend(watch.damaged)
        return watch

    def _putting(self, connection: Connection) -> Callable[[Alert], object]:
        put = self._put(connection)
        return lambda alert: put(alert, self._now)  # not since the incident's time: that may be days ago

    def _take(self, watch: Watch, new: New) -> None:
        target = new.run.probes
        if target is None or target not in self._targets:
            return  # a run that somebody else stored in this file, or a target that the config has no more
        streams = new.streams
        zero = new.run.realtime_ns / 1e9
        # Not after now: a run keeps its clock, and that of this machine may have been set back since its beginning.
        due, ended = (np.minimum(zero + streams.number[name] / 1e9, self._now) for name in ("due_at", "ended_at"))
        ttft = (streams.number["first_content_at"] - streams.number["due_at"]) / 1e6
        windows = self._config.monitor.maintenance
        counted = [
            not any(covers(windows, target, each) for each in moments) for moments in zip(due, ended, strict=True)
        ]
        self._hours.take(target, streams, ended)
        asked = ~streams.ended_as({Outcome.INTERRUPTED})  # the others say nothing of the target, or were not even sent
        if asked.any() and not self._ended[target]:
            first = int(np.flatnonzero(asked)[0])
            self._news.append(_first_probe(target, streams.text["outcome"][first], float(ttft[first])))
        in_time = ended[asked & (np.nan_to_num(streams.number["send_lag"]) < _LATE)]
        self._ended[target].extend(sorted(in_time.tolist()))
        for level in self._levels:
            if target not in level.targets:
                continue
            good = level.good.of(streams, self._config.reader)
            chosen = streams.selected_by(level.where) & np.array(counted) & (good != UNKNOWN)
            for place in sorted(np.flatnonzero(chosen).tolist(), key=ended.__getitem__):
                seen = Seen(
                    int(streams.id[place]),
                    new.run.id,
                    float(ended[place]),
                    streams.text["outcome"][place],
                    None if np.isnan(ttft[place]) else float(ttft[place]),
                )
                watch.take(level, target, seen, good=bool(good[place] > UNKNOWN))


def _first_probe(target: str, outcome: str, ttft: float) -> str:
    """`ttft`: ms; NaN if no content came."""
    return f"{target}: the first probe was {outcome}" + ("" if np.isnan(ttft) else f", ttft {figure(ttft, 'ms')}")


def _last_minute(now: float) -> int:
    """The last minute that is over, and whose probes are stored."""
    return int((now - _GRACE) // MINUTE) - 1


def _link(url: str | None, firing: Firing) -> str | None:
    """To the status page with the incident and its streams; None: the config says no address of that page."""
    if url is None:
        return None
    worst = f"#stream={firing.worst[0].stream}" if firing.worst else ""
    return f"{url.rstrip('/')}/incidents/{firing.part_of}{worst}"
