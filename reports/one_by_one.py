"""The streams that the page shows one by one: those that waited longest at first or later, the failed, two typical."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.reader_model import STALL_US
from streamgauge.harness.judge.store import Store, StreamInFull, Streams, stream_in_full
from streamgauge.harness.record.observation import FAILURES, Outcome

MOST = 10  # streams of a group
_TYPICAL = {"Typical: at the P50 of TTFT": 0.5, "Slow: at the P95 of TTFT": 0.95}


class Chosen(NamedTuple):
    """Streams by id, the most telling first."""

    name: str
    ids: list[int]
    replayed: bool = False
    of_baseline: bool = False  # of another run, to compare with
    by_wait: bool = False  # chosen for the longest wait of its person, otherwise for its TTFT


class Group(NamedTuple):
    name: str
    streams: list[StreamInFull]
    replayed: bool  # the page plays its first stream
    of_baseline: bool = False
    by_wait: bool = False


class Picker:
    """Sees every batch of a run's streams once, and remembers a few ids. Its memory: at most 16 bytes a stream."""

    def __init__(self) -> None:
        self._ids: list[Integers] = []  # of complete answers with a TTFT
        self._ttft: list[Floats] = []  # theirs, ms
        self._ttft_of_others: list[Floats] = []  # of streams that broke off, or were left, after the first token
        self._slowest = _Top()
        self._in_vain = _Top()
        self._stalled = _Top()
        # By outcome, the first few of each user class and network.
        self._failed: dict[str, dict[tuple[str, str], list[int]]] = {}

    def take(self, streams: Streams) -> None:
        number = streams.number
        ttft = (number["first_content_at"] - number["due_at"]) / 1e6
        in_vain = np.isnan(ttft) & ~streams.resumed & streams.ended_as({Outcome.CANCELLED, Outcome.INTERRUPTED})
        self._in_vain.add(streams.id, np.where(in_vain, number["ended_at"] - number["due_at"], np.nan))
        ttft[~streams.timed] = np.nan
        self._slowest.add(streams.id, ttft)
        self._stalled.add(streams.id, number.get("longest_stall", np.full(len(streams), np.nan)))
        known, complete = ~np.isnan(ttft), streams.ended_as({Outcome.COMPLETED})
        self._ids.append(streams.id[known & complete])
        self._ttft.append(ttft[known & complete])
        self._ttft_of_others.append(ttft[known & ~complete])
        self._take_failed(streams)

    def _take_failed(self, streams: Streams) -> None:
        failed = np.flatnonzero(streams.ended_as(FAILURES))
        outcomes, users, networks = (streams.text[name].at(failed) for name in ("outcome", "user", "network"))
        for stream, outcome, *group in zip(streams.id[failed].tolist(), outcomes, users, networks, strict=True):
            of_outcome = self._failed.setdefault(outcome, {})
            seen = of_outcome.get((group[0], group[1]), [])
            if len(seen) < MOST and (seen or len(of_outcome) < MOST):
                of_outcome.setdefault((group[0], group[1]), seen).append(stream)

    def chosen(self) -> list[Chosen]:
        """The groups that are not empty. A stall counts from a quarter of a second on: shorter ones nobody notices."""
        typical = list(self._typical())
        groups = [
            *typical,
            Chosen("The slowest first tokens", self._slowest.ids()),
            Chosen("The longest waits for a first token that never came", self._in_vain.ids(), by_wait=True),
            Chosen("The longest waits in mid-answer", self._stalled.ids(at_least=STALL_US), by_wait=True),
            Chosen("Failed", list(_in_turn([*_in_turn(groups.values())] for groups in self._failed.values()))[:MOST]),
        ]
        return [group for group in groups if group.ids]

    def as_baseline(self, name: str) -> list[Chosen]:
        """The typical stream, if the streams are those of an accepted run: for the replay."""
        typical = [Chosen(f"Before: the P50 of the baseline {name}", each.ids, True, True) for each in self._typical()]
        return typical[:1]

    def _typical(self) -> Iterator[Chosen]:
        """The complete answers whose TTFT is nearest to that of the figures, which count all streams with a TTFT."""
        ids, ttft = (np.concatenate(parts or [np.zeros(0)]) for parts in (self._ids, self._ttft))
        every = np.sort(np.concatenate([ttft, *self._ttft_of_others]))
        if not len(ids):
            return
        for name, q in _TYPICAL.items():
            figure = statistics.quantile(every, np.ones(len(every), np.int64), q)
            assert figure is not None
            yield Chosen(name, [int(ids[np.argmin(np.abs(ttft - figure))])], replayed=True)


class _Top:
    """The MOST streams with the highest value."""

    def __init__(self) -> None:
        self._ids, self._values = np.zeros(0, np.int64), np.zeros(0)

    def add(self, ids: Integers, values: Floats) -> None:
        known = ~np.isnan(values)
        every = np.concatenate([self._ids, ids[known]]), np.concatenate([self._values, values[known]])
        order = np.argsort(-every[1], kind="stable")[:MOST]
        self._ids, self._values = every[0][order], every[1][order]

    def ids(self, at_least: float = 0.0) -> list[int]:
        return [int(each) for each in self._ids[self._values >= at_least]]


def _in_turn(lists: Iterable[Sequence[int]]) -> Iterator[int]:
    """The first of each list, then the second of each, …: every kind is shown before one is shown twice."""
    rest = [list(each) for each in lists]
    while rest := [each for each in rest if each]:
        for each in rest:
            yield each.pop(0)


def read(store: Store, chosen: Iterable[Chosen]) -> list[Group]:
    """The chosen streams from the database. DamagedRow."""
    return [Group(name, [stream_in_full(store, stream) for stream in ids], *how) for name, ids, *how in chosen]
