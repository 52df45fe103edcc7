"""An emulated link against the same link made by others: a TCP proxy that really waits, and the kernel's own.

Each time the same reference server is asked through the other's link without emulation, and directly with it. What the
person sees must agree within 10 %. docs/reference/networks.md has a table of it; `pytest -s` prints the numbers.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import gevent
import pytest
from gevent.socket import wait_read
from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Silences
from streamgauge.harness.drive import prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.network import NETWORKS, Link, Network
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import IDENTITY, target
from tests.support.reference import ReferenceServer, reference_server

pytestmark = pytest.mark.timing

PROFILES = ["slow_4g", "3g"]
DIRECT = NETWORKS["direct"]
AGREES = 0.1
SERVER = ("--ttft", "200ms", "--prefill", "0us", "--itl", "20ms", "--spread", "0", "--pauses", "0", "--tokens", "100")
_STREAMS = 24  # a median of so many, each with four jitters of a tenth of the round trip, is within 3 % of the truth

_FULL = 1 + (52 + 14) / 1_448  # bytes on the link for each that goes in a full segment (IP, TCP and Ethernet)
_BURST = 3_028  # bytes, two full frames: tbf needs some
_PORT = "8080"  # in a network namespace, where nobody else listens
_LINKS = (*PROFILES, "stalls")  # of the kernel

# The same server in another temper.
TALKS = {"x-gauge-tokens": "20"}
STALLED = {"x-gauge-tokens": "150"}  # 3 s
FLOOD = {"x-gauge-itl": "500us", "x-gauge-tokens": "2000"}  # more than either link carries
QUICK_FLOOD = {"x-gauge-itl": "500us", "x-gauge-tokens": "800", "x-gauge-ttft": "1ms"}
STALLS = Silences(every=Duration.parse("700ms"), shortest=Duration.parse("1s"), longest=Duration.parse("1300ms"))
TWICE = 45  # the seed of a link that is silent from 1.29 to 2.36 s and from 2.76 to 3.85, and not again until 6.58


_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Seen:
    """One kind of work through one link, as the people saw it."""

    ttft: float  # ms, median: a proxy that a busy machine stops for a moment delays a few of them
    stalls: int  # gaps over 500 ms
    kbit: float  # of the answers' bodies, per stream, first to last content


def ask(url: str, network: Network, seed: int, headers: dict[str, str], text: str = "Hello?") -> StreamObservation:
    # The run begins with the stream, so that a link's silences lie where its own `silences` says.
    site = Site.of(
        url,
        target(protocol="anthropic_messages", headers=headers, max_tokens=10_000),
        RunClock.starting_at(time.time_ns()),
    )
    person = WireClient(site)
    try:
        question = Question(prompts.ask(text), Plan(), Link(network, seed), time.monotonic_ns(), IDENTITY)
        return person.stream(question).observation
    finally:
        person.close()


def look(streams: Sequence[StreamObservation]) -> Seen:
    assert {each.outcome for each in streams} == {Outcome.COMPLETED}, [each.detail for each in streams]
    gaps, took, bits = 0, 0, 0
    for each in streams:
        came = [chunk.perceived_at for chunk in each.chunks if chunk.kind in CONTENT]
        gaps += sum(after - before > 500_000_000 for before, after in pairwise(came))
        took += came[-1] - came[0]
        bits += each.body_bytes * 8
    ttfts = [(each.first_content_at or 0) - each.due_at for each in streams]
    return Seen(median(ttfts) / 1e6, gaps, bits / took * 1e6)


def together(*calls: Callable[[], _Value]) -> list[_Value]:
    """What these return, begun 20 ms apart: a burst of them would wait for the proxy's Python, and not for its link.

    All of them end with the greenlet that waits here.
    """
    running = [gevent.spawn_later(0.02 * place, call) for place, call in enumerate(calls)]
    try:
        gevent.joinall(running, raise_error=True)
    finally:
        gevent.killall(running)
    return [each.value for each in running]


def compare(what: str, streams: Sequence[StreamObservation]) -> tuple[Seen, Seen]:
    """Those who came first are behind the real link."""
    half = len(streams) // 2
    real, ours = look(streams[:half]), look(streams[half:])
    print(f"\n{what}\n  real {real}\n  ours {ours}")
    return real, ours


# A proxy


@contextlib.contextmanager
def proxy(server: ReferenceServer, network: Network, silences: list[tuple[int, int]]) -> Iterator[str]:
    """The URL of the server behind a link that really takes its time."""
    profile = network.profile
    link = {
        "target": int(server.url.rpartition(":")[2]),
        "rtt": profile.rtt / 1e9,
        "jitter": profile.jitter / 1e9,
        "down": profile.down_kbit,
        "up": profile.up_kbit,
        "silences": [(begin / 1e9, end / 1e9) for begin, end in silences],
    }
    command = [sys.executable, str(Path(__file__).parents[1] / "support" / "link_proxy.py"), json.dumps(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            wait_read(process.stdout.fileno())
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*SERVER) as running:
        yield running


def both(server: ReferenceServer, network: Network, headers: dict[str, str], seeds: Sequence[int]) -> tuple[Seen, Seen]:
    """What people see through the proxy, and what others see at the same time through our link."""
    silences = Link(network, seeds[0]).silences(10_000_000_000)
    with proxy(server, network, silences) as behind:
        streams = together(
            *[partial(ask, behind, DIRECT, seed, headers) for seed in seeds],
            *[partial(ask, server.url, network, seed, headers) for seed in seeds],
        )
    return compare(f"{network.name}, proxy", streams)


def talk(server: ReferenceServer, network: Network) -> list[tuple[Seen, Seen]]:
    """What people see of short answers, by round: one, or three if it is not alike on both links."""
    rounds = [both(server, network, TALKS, range(_STREAMS))]
    while len(rounds) < 3 and not alike(*rounds[0]):
        rounds.append(both(server, network, TALKS, range(_STREAMS)))
    return rounds


def alike(real: Seen, ours: Seen) -> bool:
    return ours.ttft == pytest.approx(real.ttft, rel=AGREES) and ours.stalls == real.stalls == 0


def at_once(
    server: ReferenceServer, links: Sequence[Network], headers: dict[str, str], seeds: Sequence[int]
) -> list[tuple[Seen, Seen]]:
    return together(*[partial(both, server, link, headers, seeds) for link in links])


@pytest.fixture(scope="module")
def proxied(server: ReferenceServer) -> Iterator[dict[str, gevent.Greenlet]]:
    """The comparisons with a proxy, by what is sent. They take seconds and mostly wait, so most run at once."""
    links = [NETWORKS[name] for name in PROFILES]
    stalling = [Network(name, replace(NETWORKS[name].profile, stalls=STALLS), "a test", None) for name in PROFILES]
    talks = gevent.spawn(together, *[partial(talk, server, link) for link in links])

    def flood_afterwards() -> list[tuple[Seen, Seen]]:
        talks.join()  # so that the server can send more than either link carries
        return at_once(server, links, FLOOD, [1])

    stalled = gevent.spawn(at_once, server, stalling, STALLED, [TWICE])
    compared = {"talks": talks, "stalled": stalled, "flooded": gevent.spawn(flood_afterwards)}
    yield compared
    gevent.killall(list(compared.values()))  # whose tests were not chosen


# The kernel


def run(program: str, *lines: str, space: str = "") -> str:
    """Have a program of iproute2 do all of these lines, in a network namespace. Why it did not, or nothing."""
    where = ("-netns", space) if space else ()
    ended = subprocess.run(
        (program, *where, "-batch", "-"),
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return ended.stderr.strip() if ended.returncode else ""


@dataclass(frozen=True)
class Shaped:
    """A pair of Ethernet devices that the kernel slows: behind one, in a network namespace, is the reference server."""

    space: str
    outer: str
    inner: str  # in the namespace
    url: str
    delays: bool  # whether this kernel has netem
    serving: gevent.Greenlet  # it ends when the server listens

    def like(self, name: str, **changes: Any) -> Network:
        """A profile as far as this kernel can make it: no jitter, and no delay without netem."""
        rtt = NETWORKS[name].profile.rtt if self.delays else Duration(0)
        of_kernel = {"rtt": rtt, "jitter": Duration(0), "burst_bytes": _BURST}
        return Network(name, replace(NETWORKS[name].profile, **of_kernel, **changes), "a test", None)

    def shape(self, network: Network) -> list[str]:
        """Give both directions the network's rates, and its delay. The command that changes the former."""
        profile = network.profile
        below = "parent 1:1" if self.delays else "root"
        for space, device, kbit in ((self.space, self.inner, profile.down_kbit), ("", self.outer, profile.up_kbit)):
            lines = [f"qdisc add dev {device} {below} {tbf(kbit)}"]
            if self.delays:
                lines.insert(0, f"qdisc add dev {device} root handle 1: netem limit 9999 delay {profile.rtt / 2e6:g}ms")
            assert run("tc", *lines, space=space) == ""
        return ["tc", "-netns", self.space, "qdisc", "change", "dev", self.inner, *below.split()]

    def carried(self) -> int:
        """How many bytes came down the link so far, headers included."""
        said = subprocess.run(
            ("tc", "-netns", self.space, "-s", "-j", "qdisc", "show", "dev", self.inner),
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return int(json.loads(said.stdout)[-1]["bytes"])


def tbf(kbit: float, burst: int = _BURST) -> str:
    return f"handle 10: tbf rate {kbit:g}kbit burst {burst} latency 20s"


def needed(program: str, *lines: str, space: str = "") -> None:
    """What `run` does, without which there is no link to compare with."""
    refused = run(program, *lines, space=space)
    if refused:
        pytest.skip(f"no shaped links here: {program}: {refused}")


def paired(space: str, number: int, place: int, serving: gevent.Greenlet) -> Shaped:
    """The link in this place, which is not shaped yet. `number`: of the namespace."""
    outer, inner = f"{space}-{place}", f"inner-{place}"
    # Of the addresses for such tests (RFC 2544, C.2.2): they lead nowhere else.
    ours, theirs = (f"198.18.{number >> 2}.{(number & 3) * 64 + place * 4 + end}" for end in (1, 2))
    pair = f"link add {outer} type veth peer name {inner} netns {space}"
    needed("ip", pair, f"address add {ours}/30 dev {outer}", f"link set {outer} up")
    needed("ip", f"address add {theirs}/30 dev {inner}", f"link set {inner} up", space=space)
    none = f"qdisc del dev {inner} root"
    needed("tc", f"qdisc add dev {inner} root {tbf(1_000)}", none, space=space)
    delays = run("tc", f"qdisc add dev {inner} root netem delay 1ms", none, space=space) == ""
    return Shaped(space, outer, inner, f"http://{theirs}:{_PORT}", delays, serving)


@pytest.fixture(scope="module")
def kernel() -> Iterator[dict[str, Shaped]]:
    """A link for each of `_LINKS`, with a server behind them that may still be starting."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("needs root and iproute2, to make a network namespace")
    number = secrets.randbelow(1 << 10)
    space = f"gauge{number:03x}"
    needed("ip", f"netns add {space}")
    serve = ["ip", "netns", "exec", space, sys.executable, "-m", "streamgauge.reference_server", "--host", "0.0.0.0"]
    try:
        with subprocess.Popen(
            [*serve, "--port", _PORT, *SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        ) as process:  # fmt: skip
            assert process.stdout is not None
            serving = gevent.spawn(wait_read, process.stdout.fileno())
            try:
                yield {name: paired(space, number, place, serving) for place, name in enumerate(_LINKS)}
            finally:
                process.terminate()
    finally:
        run("ip", f"netns delete {space}")  # and its devices with it


@pytest.fixture(scope="module")
def shaped(kernel: dict[str, Shaped], server: ReferenceServer) -> Iterator[dict[str, gevent.Greenlet]]:
    """The comparisons with the kernel's links, by the link's name. They run at once, too."""
    compared = {name: gevent.spawn(flood, kernel[name], server, name) for name in PROFILES}
    compared["stalls"] = gevent.spawn(stall, kernel["stalls"], server)
    yield compared
    gevent.killall(list(compared.values()))


def flood(link: Shaped, server: ReferenceServer, name: str) -> list[tuple[float, float]]:
    """Time to the first token and rate, ours of the kernel's, by round: until two rounds agree, and at most three.

    Of both, the bytes on the link count, headers included. The kernel sends small events in packets of their own until
    the sender's window is full, 130 to 220 packets in place of the 73 full ones that we reckon with. How many depends
    on the machine, so that what a person gets is 6 to 10 % less.
    """
    network = link.like(name)
    link.shape(network)
    link.serving.join()
    question = "Why? " * 10_000  # 50 KB: they take their time on the way up
    rounds: list[tuple[float, float]] = []
    while len(rounds) < 3 and sum(map(agree, rounds)) < 2:
        before = link.carried()
        streams = together(
            partial(ask, link.url, DIRECT, 1, QUICK_FLOOD, question),
            partial(ask, server.url, network, 1, QUICK_FLOOD, question),
        )
        carried = (link.carried() - before) / streams[0].body_bytes  # bytes on the link for each byte of the body
        real, ours = compare(f"{name}, kernel", streams)
        assert ours.stalls == real.stalls == 0
        rounds.append((ours.ttft / real.ttft, ours.kbit * _FULL / (real.kbit * carried)))
    return rounds


def agree(ratios: tuple[float, float]) -> bool:
    return ratios == pytest.approx((1, 1), rel=AGREES)


def stall(link: Shaped, server: ReferenceServer) -> tuple[Seen, Seen]:
    """What is seen on a link that the kernel makes silent when ours is."""
    network = link.like("3g", stalls=STALLS)
    rate = link.shape(network)
    script, at = [], 0
    for begin, end in Link(network, TWICE).silences(4 * 10**9):
        # Less than one full frame of burst, and packets are lost.
        for moment, bucket in ((begin, tbf(1, 1_540)), (end, tbf(network.profile.down_kbit))):
            script += [f"sleep {(moment - at) / 1e9:.3f}", " ".join([*rate, bucket])]
            at = moment
    link.serving.join()
    with subprocess.Popen(["sh", "-e", "-c", "\n".join(script)]) as silencer:
        streams = together(
            partial(ask, link.url, DIRECT, 1, STALLED),
            partial(ask, server.url, network, TWICE, STALLED),
        )
    assert silencer.returncode == 0
    return compare("3g with stalls, kernel", streams)


@pytest.mark.usefixtures("proxied")  # all comparisons begin now
@pytest.mark.parametrize("name", PROFILES)
def test_an_emulated_link_takes_as_long_as_the_kernels(shaped: dict[str, gevent.Greenlet], name: str) -> None:
    """Two rounds of three must agree: a stop of a server, or of this process, adds to one of two short streams."""
    rounds = shaped[name].get()
    assert sum(map(agree, rounds)) == 2, f"ours of the kernel's, time to the first token and rate, by round: {rounds}"


def test_streams_stall_as_often_as_behind_a_kernel_link_with_the_same_silences(
    shaped: dict[str, gevent.Greenlet],
) -> None:
    real, ours = shaped["stalls"].get()
    assert ours.stalls == 2
    assert abs(real.stalls - 2) <= 1  # a busy machine stalls by itself, or lets a token into the end of a silence


def test_first_tokens_arrive_as_late_as_behind_a_proxy(proxied: dict[str, gevent.Greenlet]) -> None:
    """In most rounds, as with the kernel's links: a stop of the proxy delays half of the streams behind it."""
    for rounds in proxied["talks"].get():
        assert 2 * sum(alike(*each) for each in rounds) > len(rounds), f"the proxy's and ours, by round: {rounds}"


def test_streams_stall_as_often_as_behind_a_proxy_with_the_same_silences(proxied: dict[str, gevent.Greenlet]) -> None:
    for real, ours in proxied["stalled"].get():
        assert ours.stalls == real.stalls == 2


def test_the_throughput_is_that_of_a_proxy(proxied: dict[str, gevent.Greenlet]) -> None:
    for real, ours in proxied["flooded"].get():
        assert ours.kbit == pytest.approx(real.kbit, rel=AGREES)
        assert ours.stalls == real.stalls == 0
