"""Links: what the road between the person and the server does. Pure: no socket, no sleep, randomness handed in.

A profile gives round-trip time, jitter and rates. The client sleeps for the delays of the way out (`handshake`,
`request`); the way back is computed from the arrivals, read by read and in order (`deliver`), so that the wire's
own times stay as the kernel saw them and the person's are the link's on top.
"""

from dataclasses import dataclass
from random import Random

from harness.errors import ScenarioError

_FRAMING = 66  # bytes around each delivery: Ethernet, IP and TCP headers, the chunk's length line


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    rtt_ms: float
    jitter_ms: float  # mean of an exponential delay on top of half the round trip
    down_kbit: float
    up_kbit: float
    source: str
    version: int = 1  # part of a run's fingerprint: raise it with any number above


NETWORKS = {
    network.name: network
    for network in [
        Network("direct", 0, 0, 0, 0, "no emulation: the machine's own link"),
        Network("wifi", 8, 2, 50_000, 20_000, "a home router; our estimate"),
        Network("fast_4g", 60, 5, 9_000, 1_500, "puppeteer's Fast 4G"),
        Network("slow_4g", 150, 15, 1_600, 750, "Lighthouse's and DevTools' Slow 4G"),
        Network("3g", 300, 30, 700, 700, "Lighthouse's 3G"),
        Network("slow_3g", 400, 40, 500, 500, "DevTools' Slow 3G"),
    ]
}


def find(name: str) -> Network:
    """The profile of that name. ScenarioError, listing what exists, if there is none."""
    if name not in NETWORKS:
        raise ScenarioError(f"no network called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


class Link:
    """A profile in use by one stream. Times in and out are nanoseconds on any one clock."""

    __slots__ = ("_free_at", "_last", "_network", "_random")

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._free_at = 0  # when the link has finished with the delivery before
        self._last = 0  # when the person got the delivery before: TCP keeps the order

    @property
    def emulated(self) -> bool:
        return self._network.rtt_ms > 0

    def handshake(self) -> int:
        """How long one round trip of TCP's or TLS's handshake takes, ns."""
        return self._way() + self._way()

    def request(self, size: int) -> int:
        """How long a request of `size` bytes takes to reach the server, ns."""
        return self._way() + _transfer(size + _FRAMING, self._network.up_kbit)

    def deliver(self, at: int, size: int) -> int:
        """When the person has `size` bytes that the server's kernel delivered at `at`. Call in order of arrival."""
        if not self.emulated:
            return at
        start = max(at, self._free_at)
        self._free_at = start + _transfer(size + _FRAMING, self._network.down_kbit)
        self._last = max(self._last, self._free_at + self._way())
        return self._last

    def _way(self) -> int:
        """One direction: half the round trip and its jitter, ns."""
        if not self.emulated:
            return 0
        jitter = self._random.expovariate(1 / self._network.jitter_ms)
        return round((self._network.rtt_ms / 2 + jitter) * 1e6)


def _transfer(size: int, kbit: float) -> int:
    return round(size * 8 / kbit * 1e6) if kbit else 0
