"""A link in use by one stream: when what is sent arrives, and how fast may be read.

Its silences and hand-overs lie on a line of time that is drawn as far as it is looked at, by a randomness of its own:
the server's pace does not move them. Jitter and losses are drawn delivery by delivery.

Not modelled: packets that a silence loses rather than holds back (their senders would try again later and later), and
what the streams of one person take from each other.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from math import ceil, log
from random import Random
from typing import Protocol

from streamgauge.harness.config import Duration, Handovers, Silences
from streamgauge.harness.drive.network.profiles import Network
from streamgauge.harness.drive.network.trace import CAPACITY, Trace

_SEGMENT = 1_448  # bytes of content in a full segment: 1,500 without IP's and TCP's headers, time stamps among these
_CHUNKING = 7  # bytes of HTTP around each read's body, about: the chunk's length line, and the line end after it
_HEADERS = 52  # IP and TCP
_FRAME = 14  # Ethernet, which a rate counts, too
_LEAST_TIMEOUT = 200_000_000  # ns; Linux's TCP_RTO_MIN
_FIRST_TIMEOUT = 1_000_000_000  # ns; of a connection's first segment (RFC 6298, 2.1)
_TUNNEL_WINDOW = 16_384  # bytes
_STEP = 10_000_000  # ns of the rate that one paced read may take, or a segment where that is more
_SLACK = 20_000_000  # ns that a paced read may come late without a loss
_UNLIMITED = 1 << 30
_NEVER = 1 << 62


class Link:
    """A profile in use by one stream. Times in and out are nanoseconds since the stream began to connect."""

    __slots__ = (
        "_before",
        "_down",
        "_gate",
        "_last",
        "_profile",
        "_random",
        "_silences",
        "_spent",
        "_up",
        "breaks_at",
        "emulated",
        "steady",
        "window",
    )

    def __init__(self, network: Network, seed: int, tunnel: tuple[int, int] | None = None) -> None:
        """`tunnel`: when the link is gone besides, and for how long; ns."""
        self._profile = profile = network.profile
        self.emulated = network.emulated or tunnel is not None
        self._spent = 0  # what the way out has taken so far
        self._before = -_NEVER  # when the delivery before was there
        self._last = 0  # when the person got the delivery before: TCP keeps the order
        self.breaks_at: int | None = None  # when a hand-over resets the connection; None: it does not
        self.window: int | None = None  # see `Network.window`
        self.steady = network.trace is None  # else what `take` says is good for that moment only
        if not self.emulated:
            return
        # In a tunnel a kernel with room would take all that comes.
        self.window = network.window or (_TUNNEL_WINDOW if tunnel is not None else None)
        self._random = random = Random(seed)
        fate = Random(random.getrandbits(64))
        handovers = profile.handovers
        if handovers and handovers.resets:
            self.breaks_at = round(fate.expovariate(handovers.resets / handovers.every))
        silences = _silences(profile.stalls, handovers, fate)
        if tunnel is not None:
            silences = heapq.merge([(tunnel[0], sum(tunnel))], silences)
        self._silences = _Timeline(silences)
        self._up = _Bucket(self._silences, profile.up_kbit, profile.burst_bytes)
        self._down: _Way
        self._gate: _Way
        if network.trace:
            begin = fate.randrange(network.trace.period)
            self._down = _Recording(self._silences, network.trace, begin, 0)
            self._gate = _Recording(self._silences, network.trace, begin, _SLACK)
        else:
            slack = round(profile.down_kbit * _SLACK / 8e6)
            self._down = _Bucket(self._silences, profile.down_kbit, profile.burst_bytes)
            self._gate = _Bucket(self._silences, profile.down_kbit, max(slack, profile.burst_bytes))

    def handshake(self) -> int:
        """How long one round trip of TCP's or TLS's handshake takes, ns, right after what was asked for before."""
        if not self.emulated:
            return 0
        began = self._spent
        there = self._silences.over(began) + self._way()
        self._spent = self._silences.over(there) + self._way() + self._retries(2, _FIRST_TIMEOUT)
        return self._spent - began

    def request(self, size: int) -> int:
        """How long a request of `size` bytes takes to reach the server, ns, right after what was asked for before."""
        if not self.emulated:
            return 0
        began = self._spent
        self._spent = self._up.carry(began, size) + self._way() + self._recovery(began, size)
        return self._spent - began

    def deliver(self, at: int, size: int) -> int:
        """When the person has `size` bytes that the server's kernel delivered at `at`. Call in order of arrival."""
        if not self.emulated:
            return at
        through = self._down.carry(at, size + _CHUNKING) + self._way() + self._recovery(at, size)
        self._before = at
        self._last = max(self._last, through)
        return self._last

    def take(self, now: int) -> tuple[int, int]:
        """How many bytes a paced client may read from `now` on, and until when; or 0, and when to look again.

        Only the rate and the silences are in it: what was read is still half a round trip away from the person, as
        `deliver` says. Tell `took` what was read.
        """
        return self._gate.open(now) if self.emulated else (_UNLIMITED, _NEVER)

    def took(self, now: int, size: int) -> None:
        """So many bytes were read, from `now` on."""
        if self.emulated:
            self._gate.carry(now, size)

    def after(self, at: int, duration: int) -> int:
        """When the link will have carried for so long from `at` on: its silences do not count."""
        if not self.emulated:
            return at + duration
        return self._silences.moment(self._silences.worked(at) + duration)

    def silences(self, until: int) -> list[tuple[int, int]]:
        """Begin and end of each silence that begins before `until`; a recording's gaps are not among them."""
        return self._silences.upto(until) if self.emulated else []

    def _way(self) -> int:
        """One direction: half the round trip and its jitter, ns."""
        profile = self._profile
        jitter = -log(1 - self._random.random()) * profile.jitter if profile.jitter else 0  # exponential
        return round(profile.rtt / 2 + jitter)

    def _recovery(self, at: int, size: int) -> int:
        """How much later it comes because segments of it were lost, ns.

        TCP learns of a loss by three later segments, or by a timeout (RFC 5681, 3.2; RFC 6298 with Linux's minimum).
        Later ones are taken to come at the pace of those before.
        """
        profile = self._profile
        if not profile.loss:
            return 0
        segments = ceil(size / _SEGMENT)
        if self._random.random() >= 1 - (1 - profile.loss) ** segments:
            return 0
        pace = 0 if segments > 3 else at - self._before
        timeout = profile.rtt + max(_LEAST_TIMEOUT, 4 * profile.jitter)
        return min(timeout, profile.rtt + 3 * pace) + self._retries(1, 2 * timeout)

    def _retries(self, segments: int, timeout: int) -> int:
        """The timeouts until one try of so many segments loses none, each twice as long as the one before, ns."""
        waited, lost = 0, 1 - (1 - self._profile.loss) ** segments
        while lost and self._random.random() < lost:
            waited += timeout
            timeout *= 2
        return waited


class _Way(Protocol):
    """One direction of a link."""

    def carry(self, at: int, size: int) -> int:
        """When the last of `size` bytes that are there at `at` is through. In order of `at`."""

    def open(self, at: int) -> tuple[int, int]:
        """How many bytes may go at `at`, without their taking any, and until when they may; or 0, and when some may."""


class _Timeline:
    """When a link carries nothing. Counts the time in which it works: rates are of that."""

    __slots__ = ("_coming", "_ends", "_next", "_starts", "_worked")

    def __init__(self, silences: Iterator[tuple[int, int]]) -> None:
        """`silences` have begin and end, and come in order."""
        self._coming = silences
        self._next = next(silences, (_NEVER, _NEVER))  # the first that is not in the lists yet
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._worked: list[int] = []  # how long the link had worked when each began

    def worked(self, at: int) -> int:
        """How long the link had worked at `at`, ns."""
        if at < self._next[0] and not self._starts:
            return at
        while self._next[0] <= at:
            self._extend()
        place = bisect_right(self._starts, at) - 1
        return at if place < 0 else self._worked[place] + max(0, at - self._ends[place])

    def moment(self, worked: int) -> int:
        """When the link will have worked so long, and works; ns."""
        if worked < self._next[0] and not self._starts:
            return worked
        while self._next[0] - self._silent() <= worked:
            self._extend()
        place = bisect_right(self._worked, worked) - 1
        return worked if place < 0 else self._ends[place] + worked - self._worked[place]

    def over(self, at: int) -> int:
        """`at`, or the end of the silence that it is in."""
        return self.moment(self.worked(at))

    def works_until(self, at: int) -> int:
        """When the next silence begins."""
        self.worked(at)
        place = bisect_right(self._starts, at)
        return self._starts[place] if place < len(self._starts) else self._next[0]

    def upto(self, until: int) -> list[tuple[int, int]]:
        """The silences that begin before."""
        self.worked(until)
        return [(start, end) for start, end in zip(self._starts, self._ends, strict=True) if start < until]

    def _silent(self) -> int:
        """How long all the silences in the lists are, ns."""
        return self._ends[-1] - self._worked[-1] if self._ends else 0

    def _extend(self) -> None:
        """Take the next silence into the lists, with all that begin before it is over."""
        start, end = self._next
        self._worked.append(start - self._silent())
        self._next = next(self._coming, (_NEVER, _NEVER))
        while self._next[0] <= end:
            end = max(end, self._next[1])
            self._next = next(self._coming, (_NEVER, _NEVER))
        self._starts.append(start)
        self._ends.append(end)


class _Bucket:
    """A rate with a burst: a bucket whose tokens come while the link works."""

    __slots__ = ("_burst", "_cost", "_free_at", "_step", "_timeline")

    def __init__(self, timeline: _Timeline, kbit: float, burst: int) -> None:
        """0 kbit/s: any rate. `burst` in bytes."""
        self._timeline = timeline
        self._cost = 8e6 / kbit if kbit else 0.0  # ns for a byte
        self._burst = round(burst * self._cost)
        self._free_at = -self._burst  # when all before is through, in time that the link worked
        self._step = ceil(_STEP / self._cost / _SEGMENT) * _SEGMENT if kbit else _UNLIMITED

    def carry(self, at: int, size: int) -> int:
        now = self._timeline.worked(at)
        weight = _on_wire(size, _HEADERS + _FRAME, waits=self._free_at > now)
        self._free_at = max(self._free_at, now - self._burst) + round(weight * self._cost)
        return self._timeline.moment(max(now, self._free_at))

    def open(self, at: int) -> tuple[int, int]:
        now = self._timeline.worked(at)
        free_at = self._timeline.moment(max(now, self._free_at))
        if free_at > at:
            return 0, free_at
        saved = min(self._burst, now - self._free_at) / self._cost if self._cost else 0
        return self._step + int(saved / _SEGMENT) * _SEGMENT, self._timeline.works_until(at)


class _Recording:
    """A direction as it was recorded, from some moment of the recording on; silences are beside its own gaps."""

    __slots__ = ("_begin", "_number", "_room", "_slack", "_timeline", "_trace")

    def __init__(self, timeline: _Timeline, trace: Trace, begin: int, slack: int) -> None:
        self._timeline = timeline
        self._trace = trace
        self._slack = slack  # how late a delivery may be used, ns
        self._begin = begin  # of the recording, ns, where the stream begins
        self._number = trace.first(begin)  # the delivery whose room is used next
        self._room = CAPACITY  # bytes left of it

    def carry(self, at: int, size: int) -> int:
        waits = self._now() > at
        self._skip(at)
        weight = round(_on_wire(size, _HEADERS, waits=waits))
        if weight > self._room:
            more = ceil((weight - self._room) / CAPACITY)
            self._number += more
            self._room += more * CAPACITY
        self._room -= weight
        return self._timeline.over(max(at, self._now()))

    def open(self, at: int) -> tuple[int, int]:
        free_at = self._timeline.over(at)
        if free_at > at:
            return 0, free_at
        self._skip(at)
        past = self._trace.first(at + self._begin + 1)
        room = (past - self._number - 1) * CAPACITY + self._room
        return (room, at) if room > 0 else (0, max(self._now(), at + _STEP))

    def _now(self) -> int:
        return self._trace.moment(self._number) - self._begin

    def _skip(self, at: int) -> None:
        """Lose what nobody used in time."""
        number = self._trace.first(at + self._begin - self._slack)
        if number > self._number:
            self._number, self._room = number, CAPACITY


def _on_wire(size: int, headers: int, *, waits: bool) -> float:
    """Bytes of a delivery with its headers. What waits behind others shares full segments with them."""
    return size + headers * (size / _SEGMENT if waits else ceil(size / _SEGMENT))


def _silences(stalls: Silences | None, handovers: Handovers | None, random: Random) -> Iterator[tuple[int, int]]:
    """Begin and end of all silences, in order of their beginnings, overlapping or not; endless, or none at all."""
    processes = [] if stalls is None else [_renewal(stalls, random)]
    if handovers is not None and handovers.resets < 1:
        # Of events at random moments, a share at random: still at random moments, and so is the rest.
        every = Duration(handovers.every / (1 - handovers.resets))
        gaps = Silences(every=every, shortest=handovers.shortest, longest=handovers.longest)
        processes.append(_renewal(gaps, random))
    return heapq.merge(*processes)


def _renewal(process: Silences, random: Random) -> Iterator[tuple[int, int]]:
    """Silences with exponential times between them, looked at from a moment that does not depend on them."""
    at = 0.0
    length = _mean(process)
    if random.random() < length / (length + process.every):
        # Who comes at any moment meets long silences more often than short ones, each at any place of it.
        at = random.random() * _length(process, process.tail - 1, random)
        yield 0, round(at)
    while True:
        start = at + random.expovariate(1 / process.every)
        at = start + _length(process, process.tail, random)
        yield round(start), round(at)


def _length(process: Silences, tail: float, random: Random) -> float:
    """Drawn from Pareto's distribution between two bounds, ns, by the inverse of its distribution function."""
    shortest, longest, share = process.shortest, process.longest, random.random()
    if abs(tail) < 1e-9:
        return float(shortest * (longest / shortest) ** share)
    ratio = (shortest / longest) ** tail
    return float(shortest * (1 - share * (1 - ratio)) ** (-1 / tail))


def _mean(process: Silences) -> float:
    """Of the lengths, ns."""
    shortest, longest, tail = process.shortest, process.longest, process.tail
    if longest - shortest < 1:
        return float(shortest)
    if abs(tail) < 1e-9:
        return (longest - shortest) / log(longest / shortest)
    mass = 1 - (shortest / longest) ** tail
    if abs(tail - 1) < 1e-9:
        return float(shortest * log(longest / shortest) / mass)
    return float(tail / (tail - 1) * (shortest - longest * (shortest / longest) ** tail) / mass)
