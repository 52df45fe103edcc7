"""Deliveries over an emulated link, as tests make them."""

from hypothesis import strategies as st

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Silences
from streamgauge.harness.drive.network import Link, find

SECOND = 10**9
# Deliveries as a server's kernel would make them: ns since the one before, and bytes.
deliveries = st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 65_536)), min_size=1, max_size=60)


def arrivals(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times instead of gaps."""
    at, made = 0, []
    for gap, size in steps:
        at += gap
        made.append((at, size))
    return made


def silences(every: str, shortest: str, longest: str, tail: float = 1) -> Silences:
    parse = Duration.parse
    return Silences(every=parse(every), shortest=parse(shortest), longest=parse(longest), tail=tail)


def gone(begins: float, lasts: float, name: str = "wifi") -> Link:
    """A link with a tunnel; seconds."""
    return Link(find(name), 1, (round(begins * 1e9), round(lasts * 1e9)))


# Paced reads


def drink(link: Link, seconds: int, lateness: int = 0) -> int:
    """Bytes that a client gets which reads whenever it may, and comes `lateness` ns late each time."""
    at, read = 0, 0
    while at < seconds * SECOND:
        allowed, look = link.take(at)
        if allowed:
            link.took(at, allowed)
            read += allowed
        else:
            at = look + lateness
    return read
