"""Link profiles by name: shipped ones, those of streamgauge.toml, recordings. To add one, extend `NETWORKS`."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Handovers, Profile, Silences
from streamgauge.harness.drive.network.trace import Trace
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed

_TRACE = "trace:"
_SMALLEST_WINDOW, _LARGEST_WINDOW = 8_192, 65_536  # bytes
_NOTHING = Profile()
_AMPLE = 15_000  # kbit/s; at this rate and above, no token stream is slowed down


@dataclass(frozen=True, slots=True)
class Network:
    name: str
    profile: Profile
    source: str
    version: int | None = 1  # increment it with every change of the profile; None: not shipped, see `fingerprint`
    trace: Trace | None = None

    @property
    def emulated(self) -> bool:
        return self.profile != _NOTHING

    @property
    def fingerprint(self) -> str:
        """The link's entry in a run's fingerprint: the name with its version, or with a digest of its numbers.

        A trace is identified by its content, not by its path.
        """
        if self.version is not None:
            return f"{self.name}@{self.version}"
        numbers = replace(self.profile, trace=self.trace.digest if self.trace else None)
        digest = sha256(msgspec.json.encode(numbers, enc_hook=str)).hexdigest()
        name = "trace" if self.name.startswith(_TRACE) else self.name
        return f"{name}#{digest[:12]}"

    @property
    def window(self) -> int | None:
        """SO_RCVBUF for a client that paces its reads; None if pacing would change nothing.

        A quarter of the link's bandwidth-delay product: enough for the link's rate while the real round trip is at most
        a quarter of the emulated one, and small enough that the server's writes soon block if the client does not read.
        """
        profile = self.profile
        kbit = self.trace.kbit if self.trace else profile.down_kbit
        if not profile.stalls and not profile.handovers and not self.trace and not 0 < kbit < _AMPLE:
            return None
        product = kbit * profile.rtt / 8e6  # kbit/s are bits/ms
        return round(min(max(_SMALLEST_WINDOW, product / 4), _LARGEST_WINDOW))


def _steady(rtt: str, jitter: str, down_kbit: float, up_kbit: float) -> Profile:
    return Profile(rtt=Duration.parse(rtt), jitter=Duration.parse(jitter), down_kbit=down_kbit, up_kbit=up_kbit)


def _stalls(every: str, shortest: str, longest: str, tail: float) -> Silences:
    parse = Duration.parse
    return Silences(every=parse(every), shortest=parse(shortest), longest=parse(longest), tail=tail)


def _handovers(every: str, shortest: str, longest: str, resets: float) -> Handovers:
    parse = Duration.parse
    return Handovers(every=parse(every), shortest=parse(shortest), longest=parse(longest), resets=resets)


# Jitter is our own estimate in every profile: the sources give none.
_LTE = _steady("70ms", "7ms", 12_000, 12_000)
_UMTS = _steady("300ms", "30ms", 1_600, 768)
_CAFE = _steady("12ms", "10ms", 4_000, 2_000)

# Fitted to recorded links (docs/reference/networks.md): stalls per minute over 300 ms and over 1 s, and the
# longest one.
_LTE_STALLS = _stalls("14.28s", "300ms", "1.5s", 0.18)  # 4 and 0.9 a minute
_UMTS_STALLS = _stalls("6.65s", "300ms", "5.8s", 1.15)  # 8 and 1.8 a minute
_TUNNELS = _stalls("3m", "5s", "60s", 0.7)
_CELLS = _handovers("45s", "300ms", "3s", resets=0.2)
_EDGE_OF_CELLS = _handovers("12s", "300ms", "3s", resets=0.5)
_CROWD = _stalls("10s", "200ms", "4s", 1)

NETWORKS = {
    network.name: network
    for network in [
        Network("direct", _NOTHING, "no emulation: the machine's own link"),
        Network("wifi", _steady("8ms", "2ms", 50_000, 20_000), "a home router; our estimate"),
        Network("fiber", _steady("4ms", "500us", 20_000, 5_000), "WebPageTest's FIOS"),
        Network("fast_4g", _steady("60ms", "5ms", 9_000, 1_500), "puppeteer's Fast 4G"),
        Network("slow_4g", _steady("150ms", "15ms", 1_600, 750), "Lighthouse's and DevTools' Slow 4G"),
        Network("3g", _steady("300ms", "30ms", 700, 700), "Lighthouse's 3G"),
        Network("slow_3g", _steady("400ms", "40ms", 500, 500), "DevTools' Slow 3G"),
        Network("edge", _steady("840ms", "80ms", 240, 200), "WebPageTest's EDGE"),
        Network(
            "trickle",
            _steady("400ms", "40ms", 16, 16),
            "2 KB/s, as many tariffs throttle when their data volume is used up; our estimate",
        ),
        Network(
            "lte_driving", replace(_LTE, stalls=_LTE_STALLS), "WebPageTest's LTE with the stalls of recorded drives"
        ),
        Network(
            "umts_driving", replace(_UMTS, stalls=_UMTS_STALLS), "WebPageTest's 3G with the stalls of recorded drives"
        ),
        Network(
            "commute",
            replace(_LTE, stalls=_TUNNELS, handovers=_CELLS),
            "WebPageTest's LTE; tunnels and hand-overs: our estimate",
        ),
        Network(
            "cell_edge",
            replace(_LTE, handovers=_EDGE_OF_CELLS),
            "WebPageTest's LTE on a walk between cells; hand-overs: our estimate",
        ),
        Network("flaky_wifi", replace(_CAFE, loss=0.02, stalls=_CROWD), "a crowded café; our estimate"),
    ]
}


def find(name: str, inline: Mapping[str, Profile] = MappingProxyType({})) -> Network:
    """The link of that name: a shipped one, a table `[networks.NAME]` of the config, or a recording, `trace:PATH`.

    ScenarioError if there is none (listing what exists), if the trace is invalid, or if the name exists twice.
    """
    if name in inline and name in NETWORKS:
        raise ScenarioError(f"[networks.{name}]: there is already a network of that name; choose another")
    if name in inline:
        return _own(name, inline[name], f"[networks.{name}]")
    if name.startswith(_TRACE):
        return _own(name, Profile(trace=name.removeprefix(_TRACE)), "a recorded link")
    if name not in NETWORKS:
        known = listed(name, [*NETWORKS, *inline], ", and trace:PATH for a recorded one")
        raise ScenarioError(f"no network called {name!r}; there are {known}")
    return NETWORKS[name]


def _own(name: str, profile: Profile, source: str) -> Network:
    trace = None if profile.trace is None else Trace.read(profile.trace)
    return Network(name, profile, source, version=None, trace=trace)
