"""What is wrong with a simulated run: each function changes the streams of a run as one fault of a server, of the way
to it, or of the generator would. The comments name the reference server's fault or setting with the same effect.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import default_rng

from streamgauge.harness.record.observation import Outcome
from tests.support.simulated import Ask, Times

Change = Callable[[list[Ask]], None]
_NOTHING = np.zeros(0)


def _some(made: Sequence[Ask], share: float, seed: int = 3) -> list[Ask]:
    draw = default_rng(seed)
    return [ask for ask in made if draw.random() < share]


def _delayed(ask: Ask, seconds: float, since: int = 0) -> None:
    """The chunks from this one on come later, and so does the end."""
    ask.at = ask.at + np.where(np.arange(len(ask.at)) >= since, seconds, 0.0)
    ask.ended += seconds


def _broken(ask: Ask, outcome: Outcome, at: Times, ended: float) -> None:
    ask.outcome, ask.at, ask.ended, ask.stop_reason = outcome, at, ended, None
    ask.seen = None


def slow_headers(share: float, seconds: float, **labels: str) -> Change:
    """`--fault slow_headers:2s:0.3`; with labels, only and all streams that have them are slow."""

    def change(made: list[Ask]) -> None:
        for ask in _some(made, share):
            _delayed(ask, seconds)
            ask.labels = {**labels}

    return change


def refused(share: float, status: int) -> Change:
    """`--fault http_429:0.1`"""

    def change(made: list[Ask]) -> None:
        for ask in _some(made, share):
            refuse(ask, status)

    return change


def refuse(ask: Ask, status: int) -> None:
    _broken(ask, Outcome.REFUSED, _NOTHING, ask.sent + 0.02)
    ask.status = status


def refused_beyond(at_once: int, status: int) -> Change:
    """`--max-streams 12`: who comes while that many are open is refused."""

    def change(made: list[Ask]) -> None:
        ends: list[float] = []
        for ask in sorted(made, key=lambda each: each.sent):
            ends = [end for end in ends if end > ask.sent]
            if len(ends) >= at_once:
                refuse(ask, status)
            else:
                ends.append(ask.ended)

    return change


def refused_beyond_rate(most: int, seconds: float, status: int) -> Change:
    """A gateway that admits so many in any time of this length."""

    def change(made: list[Ask]) -> None:
        admitted: list[float] = []
        for ask in sorted(made, key=lambda each: each.sent):
            admitted = [sent for sent in admitted if sent > ask.sent - seconds]
            if len(admitted) >= most:
                refuse(ask, status)
            else:
                admitted.append(ask.sent)

    return change


def cut_after(seconds: float, share: float) -> Change:
    """A silent model behind a proxy with a read timeout: `--fault silence@8`, and nginx’s proxy_read_timeout."""

    def change(made: list[Ask]) -> None:
        draw = default_rng(4)
        for ask in _some(made, share):
            at = ask.at[:8]
            _broken(ask, Outcome.RESET, at, float(at[-1]) + seconds + float(draw.uniform(0, 0.05)))

    return change


def cut_at_age(seconds: float) -> Change:
    """A proxy that allows an answer only so much time."""

    def change(made: list[Ask]) -> None:
        for ask in _some(made, 0.3):
            longer = np.arange(float(ask.at[0]), ask.sent + seconds, 0.02).astype(np.float64)
            _broken(ask, Outcome.TRUNCATED, longer, ask.sent + seconds + 0.01)

    return change


def empty(share: float, reason: str) -> Change:
    def change(made: list[Ask]) -> None:
        for ask in _some(made, share):
            _broken(ask, Outcome.EMPTY, _NOTHING, ask.ended)
            ask.stop_reason = reason

    return change


def held_to_the_end(made: list[Ask]) -> None:
    """nginx’s `proxy_buffering on`, with answers that fit into its buffer; `--fault buffer:1000000`."""
    for ask in made:
        ask.at = np.arange(len(ask.at)) * 2e-6 + ask.at[-1]


def in_writes_of(chunks: int) -> Change:
    """`--fault batch:8`"""

    def change(made: list[Ask]) -> None:
        for ask in made:
            last = np.minimum((np.arange(len(ask.at)) // chunks + 1) * chunks, len(ask.at)) - 1
            ask.at = ask.at[last]

    return change


def on_a_timer(seconds: float) -> Change:
    """`--fault buffer_time:200ms`"""

    def change(made: list[Ask]) -> None:
        for ask in made:
            ask.at = ask.sent + np.ceil((ask.at - ask.sent) / seconds) * seconds
            ask.ended = max(ask.ended, float(ask.at[-1]))

    return change


def paused(*moments: float, seconds: float) -> Change:
    """`--fault block:1s@8`, once in a while: nothing leaves the server at these moments."""

    def change(made: list[Ask]) -> None:
        for ask in made:
            for moment in moments:
                stuck = (ask.at >= moment) & (ask.at < moment + seconds)
                ask.at = np.where(stuck, moment + seconds, ask.at)
            ask.ended = max(ask.ended, float(ask.at[-1]))

    return change


def stalled(share: float, seconds: float, up_to: float = 0) -> Change:
    """`--fault stall:2s@8:0.2`; with `up_to`, each stall is of another length, as those of preempted answers are."""

    def change(made: list[Ask]) -> None:
        draw = default_rng(5)
        for ask in _some(made, share):
            _delayed(ask, float(draw.uniform(seconds, max(seconds, up_to))), since=8)

    return change


def tunnel(made: list[Ask]) -> None:
    """The emulated link `tunnel`, for half of the users."""
    for ask in made:
        ask.network = "tunnel" if ask.user == "User0" else "wifi"
        if ask.network == "tunnel":
            ask.seen = ask.at + np.where(np.arange(len(ask.at)) >= 8, 3.0, 0.0)
            ask.ended += 3.0


def connecting_each_time(made: list[Ask]) -> None:
    """`--fault` none: a server that closes each connection, 300 ms away."""
    for ask in made:
        _connected(ask, 0.3)


def connecting_often(made: list[Ask]) -> None:
    for ask in _some(made, 0.4):
        _connected(ask, 0.3)


def _connected(ask: Ask, seconds: float) -> None:
    ask.connect = seconds
    ask.sent += seconds
    _delayed(ask, seconds)


def uncached(share: float) -> Change:
    """`--prefill` and prompts of which some are cached."""

    def change(made: list[Ask]) -> None:
        for ask in made:
            ask.cached = 2_000
        for ask in _some(made, share):
            ask.cached = 0
            _delayed(ask, 0.8)

    return change


def one_slow_worker(made: list[Ask]) -> None:
    for ask in made:
        if ask.worker == "worker-1":
            _delayed(ask, 0.4)


def one_failing_worker(made: list[Ask]) -> None:
    for ask in _some([ask for ask in made if ask.worker == "worker-1"], 0.5):
        _broken(ask, Outcome.RESET, _NOTHING, ask.sent + 0.1)


def one_slow_address(made: list[Ask]) -> None:
    for ask in made:
        if ask.address == "10.0.0.2":
            _delayed(ask, 0.4)


def one_slow_replica(made: list[Ask]) -> None:
    """Behind a load balancer with one address."""
    for place, ask in enumerate(made):
        ask.address, ask.replica = "10.0.0.1", f"pod-{place % 4}"
        if ask.replica == "pod-3":
            _delayed(ask, 0.4)


def one_failing_address(made: list[Ask]) -> None:
    for ask in _some([ask for ask in made if ask.address == "10.0.0.2"], 0.5):
        _broken(ask, Outcome.RESET, _NOTHING, ask.sent + 0.1)


def a_replica_for_each_stream(made: list[Ask]) -> None:
    """A header that does not name a server, such as a request id."""
    for place, ask in enumerate(made):
        ask.replica = f"r-{place}"


def cut_short(share: float, reason: str = "max_tokens") -> Change:
    """`max_tokens = 30` in [target]"""

    def change(made: list[Ask]) -> None:
        for ask in _some(made, share):
            ask.stop_reason = reason

    return change


def read_late(made: list[Ask]) -> None:
    for ask in made:
        ask.saturated_reads = max(1, len(ask.at) // 20)


def unchanged(made: list[Ask]) -> None:
    """Nothing is wrong, or only with the server’s own settings."""
