"""An emulated link in use by one stream: when data arrives, and how fast it may be read.

Silences and handovers are drawn from a random generator of their own, so they do not depend on the server's pace.
Jitter and losses are drawn for each delivery.

Not modelled: packets that a silence loses instead of delaying (TCP would back off), and several streams of one person
that compete for the same link.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from math import ceil, log
from random import Random
from typing import Protocol

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Handovers, Silences
from streamgauge.harness.drive.network.profiles import Network
from streamgauge.harness.drive.network.trace import CAPACITY, Trace

_SEGMENT = 1_448  # bytes of payload in a full segment: 1,500 less IP and TCP headers, with TCP timestamps
_CHUNKING = 7  # approximate bytes of HTTP chunk framing around each read: the length line and the closing line end
_HEADERS = 52  # bytes of IP and TCP headers
_FRAME = 14  # bytes of the Ethernet header, which a link's rate includes
_LEAST_TIMEOUT = 200_000_000  # ns; Linux's TCP_RTO_MIN
_FIRST_TIMEOUT = 1_000_000_000  # ns; the retransmission timeout of a connection's first segment (RFC 6298, 2.1)
_TUNNEL_WINDOW = 16_384  # bytes
_STEP = 10_000_000  # ns; a paced read may take what the rate carries in this time, and at least one segment
_SLACK = 20_000_000  # ns; a paced read may be this late without losing capacity
_UNLIMITED = 1 << 30  # bytes
_NEVER = 1 << 62


class Link:
    """A link profile in use by one stream. All times are nanoseconds since the stream began to connect."""

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
        """`tunnel`: (start, duration) of one more silence, ns."""
        self._profile = profile = network.profile
        self.emulated = network.emulated or tunnel is not None
        self._spent = 0  # total delay of the handshakes and the request so far
        self._before = -_NEVER  # when the previous delivery arrived on the wire
        self._last = 0  # when the person got the previous delivery: later data cannot overtake it
        self.breaks_at: int | None = None  # when a handover resets the connection; None: never
        self.window: int | None = None  # SO_RCVBUF, see `Network.window`
        self.steady = network.trace is None  # False: what `take` allows is valid only at that moment
        if not self.emulated:
            return
        # Without a small window, the kernel would accept everything that arrives during the tunnel.
        self.window = network.window or (_TUNNEL_WINDOW if tunnel is not None else None)
        self._random = random = Random(seed)
        outages = Random(random.getrandbits(64))
        handovers = profile.handovers
        if handovers and handovers.resets:
            self.breaks_at = round(outages.expovariate(handovers.resets / handovers.every))
        silences = _silences(profile.stalls, handovers, outages)
        if tunnel is not None:
            silences = heapq.merge([(tunnel[0], sum(tunnel))], silences)
        self._silences = _Timeline(silences)
        self._up = _Bucket(self._silences, profile.up_kbit, profile.burst_bytes)
        self._down: _Direction
        self._gate: _Direction
        if network.trace:
            begin = outages.randrange(network.trace.period)
            self._down = _Recording(self._silences, network.trace, begin, 0)
            self._gate = _Recording(self._silences, network.trace, begin, _SLACK)
        else:
            slack = round(profile.down_kbit * _SLACK / 8e6)
            self._down = _Bucket(self._silences, profile.down_kbit, profile.burst_bytes)
            self._gate = _Bucket(self._silences, profile.down_kbit, max(slack, profile.burst_bytes))

    def handshake(self) -> int:
        """Duration of one round trip of a TCP or TLS handshake, ns. It begins where the previous delay ended."""
        if not self.emulated:
            return 0
        began = self._spent
        there = self._silences.over(began) + self._way()
        self._spent = self._silences.over(there) + self._way() + self._retries(2, _FIRST_TIMEOUT)
        return self._spent - began

    def request(self, size: int) -> int:
        """How long a request of `size` bytes takes to reach the server, ns. Starts after the handshakes."""
        if not self.emulated:
            return 0
        began = self._spent
        self._spent = self._up.carry(began, size) + self._way() + self._recovery(began, size)
        return self._spent - began

    def deliver(self, at: int, size: int) -> int:
        """When the person gets `size` bytes that arrived on the wire at `at`. Call it in order of arrival."""
        if not self.emulated:
            return at
        through = self._down.carry(at, size + _CHUNKING) + self._way() + self._recovery(at, size)
        self._before = at
        self._last = max(self._last, through)
        return self._last

    def take(self, now: int) -> tuple[int, int]:
        """(bytes, until): how many bytes a paced client may read from `now` until then; or (0, when to ask again).

        Covers the rate and the silences only; `deliver` adds latency and losses. Call `took` after each read.
        """
        return self._gate.open(now) if self.emulated else (_UNLIMITED, _NEVER)

    def took(self, now: int, size: int) -> None:
        """Record that `size` bytes were read at `now`."""
        if self.emulated:
            self._gate.carry(now, size)

    def after(self, at: int, duration: int) -> int:
        """When the link has worked for `duration` since `at`; silences do not count."""
        if not self.emulated:
            return at + duration
        return self._silences.moment(self._silences.worked(at) + duration)

    def silences(self, until: int) -> list[tuple[int, int]]:
        """(start, end) of each silence that starts before `until`. Gaps in a recording are not included."""
        return self._silences.upto(until) if self.emulated else []

    def _way(self) -> int:
        """Delay in one direction: half the round trip plus jitter, ns."""
        profile = self._profile
        jitter = -log(1 - self._random.random()) * profile.jitter if profile.jitter else 0  # exponential
        return round(profile.rtt / 2 + jitter)

    def _recovery(self, at: int, size: int) -> int:
        """Extra delay of a delivery because segments of it were lost, ns.

        TCP detects a loss by three later segments or by a timeout (RFC 5681, 3.2; RFC 6298 with Linux's minimum).
        Later segments are assumed to arrive as far apart as the last two deliveries.
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
        """Total of the timeouts until `segments` segments get through, ns; each timeout is twice the previous one."""
        waited, lost = 0, 1 - (1 - self._profile.loss) ** segments
        while lost and self._random.random() < lost:
            waited += timeout
            timeout *= 2
        return waited


class _Direction(Protocol):
    """The capacity of one direction of a link."""

    def carry(self, at: int, size: int) -> int:
        """When the last of `size` bytes that arrive at `at` has been carried. Call it in order of `at`."""

    def open(self, at: int) -> tuple[int, int]:
        """(bytes, until): what could be carried at `at`, valid until then; or (0, when to ask again). Pure."""


class _Timeline:
    """A link's silences, and the time that it has worked: rates apply to working time only."""

    __slots__ = ("_coming", "_ends", "_next", "_starts", "_worked")

    def __init__(self, silences: Iterator[tuple[int, int]]) -> None:
        """`silences`: (start, end), ordered by start."""
        self._coming = silences
        self._next = next(silences, (_NEVER, _NEVER))  # the first silence that is not in the lists yet
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._worked: list[int] = []  # how long the link had worked when each silence began

    def worked(self, at: int) -> int:
        """How long the link had worked at `at`, ns."""
        if at < self._next[0] and not self._starts:
            return at
        while self._next[0] <= at:
            self._extend()
        place = bisect_right(self._starts, at) - 1
        return at if place < 0 else self._worked[place] + max(0, at - self._ends[place])

    def moment(self, worked: int) -> int:
        """The time at which the link has worked for `worked` and is not in a silence, ns."""
        if worked < self._next[0] and not self._starts:
            return worked
        while self._next[0] - self._silent() <= worked:
            self._extend()
        place = bisect_right(self._worked, worked) - 1
        return worked if place < 0 else self._ends[place] + worked - self._worked[place]

    def over(self, at: int) -> int:
        """`at`, or the end of the silence that contains it."""
        return self.moment(self.worked(at))

    def works_until(self, at: int) -> int:
        """When the next silence begins."""
        self.worked(at)
        place = bisect_right(self._starts, at)
        return self._starts[place] if place < len(self._starts) else self._next[0]

    def upto(self, until: int) -> list[tuple[int, int]]:
        """The silences that start before `until`."""
        self.worked(until)
        return [(start, end) for start, end in zip(self._starts, self._ends, strict=True) if start < until]

    def _silent(self) -> int:
        """Total length of the silences in the lists, ns."""
        return self._ends[-1] - self._worked[-1] if self._ends else 0

    def _extend(self) -> None:
        """Add the next silence to the lists, merged with those that overlap it."""
        start, end = self._next
        self._worked.append(start - self._silent())
        self._next = next(self._coming, (_NEVER, _NEVER))
        while self._next[0] <= end:
            end = max(end, self._next[1])
            self._next = next(self._coming, (_NEVER, _NEVER))
        self._starts.append(start)
        self._ends.append(end)


class _Bucket:
    """A rate with a burst: a token bucket that fills while the link works."""

    __slots__ = ("_burst", "_cost", "_free_at", "_step", "_timeline")

    def __init__(self, timeline: _Timeline, kbit: float, burst: int) -> None:
        """0 kbit/s: unlimited. `burst` in bytes."""
        self._timeline = timeline
        self._cost = 8e6 / kbit if kbit else 0.0  # ns per byte
        self._burst = round(burst * self._cost)
        self._free_at = -self._burst  # when everything accepted so far has been carried, in working time
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
    """A recorded direction, played from some moment of the recording, interrupted by the timeline's silences too."""

    __slots__ = ("_begin", "_number", "_room", "_slack", "_timeline", "_trace")

    def __init__(self, timeline: _Timeline, trace: Trace, begin: int, slack: int) -> None:
        self._timeline = timeline
        self._trace = trace
        self._slack = slack  # ns; how late a delivery may be used
        self._begin = begin  # the moment of the recording at which the stream begins, ns
        self._number = trace.first(begin)  # the delivery that is used next
        self._room = CAPACITY  # bytes left in that delivery

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
        """Drop the deliveries that were not used in time."""
        number = self._trace.first(at + self._begin - self._slack)
        if number > self._number:
            self._number, self._room = number, CAPACITY


def _on_wire(size: int, headers: int, *, waits: bool) -> float:
    """Bytes on the wire, headers included. Data that waits behind other data shares full segments with it."""
    return size + headers * (size / _SEGMENT if waits else ceil(size / _SEGMENT))


def _silences(stalls: Silences | None, handovers: Handovers | None, random: Random) -> Iterator[tuple[int, int]]:
    """(start, end) of all silences, ordered by start; they may overlap. Endless, or empty."""
    processes = [] if stalls is None else [_renewal(stalls, random)]
    if handovers is not None and handovers.resets < 1:
        # A random share of a Poisson process is a Poisson process, and so is the rest.
        every = Duration(handovers.every / (1 - handovers.resets))
        gaps = Silences(every=every, shortest=handovers.shortest, longest=handovers.longest)
        processes.append(_renewal(gaps, random))
    return heapq.merge(*processes)


def _renewal(process: Silences, random: Random) -> Iterator[tuple[int, int]]:
    """An alternating renewal process: silences with exponential gaps, observed from an independent moment."""
    at = 0.0
    length = _mean(process)
    if random.random() < length / (length + process.every):
        # The stream starts inside a silence: longer ones are likelier (length-biased), at a uniform position.
        at = random.random() * _length(process, process.tail - 1, random)
        yield 0, round(at)
    while True:
        start = at + random.expovariate(1 / process.every)
        at = start + _length(process, process.tail, random)
        yield round(start), round(at)


def _length(process: Silences, tail: float, random: Random) -> float:
    """A draw from the bounded Pareto distribution, ns, by inverting its distribution function."""
    shortest, longest, share = process.shortest, process.longest, random.random()
    if abs(tail) < 1e-9:
        return float(shortest * (longest / shortest) ** share)
    ratio = (shortest / longest) ** tail
    return float(shortest * (1 - share * (1 - ratio)) ** (-1 / tail))


def _mean(process: Silences) -> float:
    """Mean of the bounded Pareto distribution, ns."""
    shortest, longest, tail = process.shortest, process.longest, process.tail
    if longest - shortest < 1:
        return float(shortest)
    if abs(tail) < 1e-9:
        return (longest - shortest) / log(longest / shortest)
    mass = 1 - (shortest / longest) ** tail
    if abs(tail - 1) < 1e-9:
        return float(shortest * log(longest / shortest) / mass)
    return float(tail / (tail - 1) * (shortest - longest * (shortest / longest) ** tail) / mass)
