"""streamgauge.toml → typed values. Reads one file; resolves secrets only when asked, and never keeps them.

A key that does not exist, a value of the wrong type, a duration without a unit: each is one ConfigError that names
the file, the place and what exists there.
"""

import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from streamgauge.harness.errors import ConfigError

PROTOCOLS = ("anthropic_messages", "openai_chat", "plain_sse", "custom")

_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_MOST_LOST = 0.5  # share of segments; with more, hardly anything comes through
_STEEPEST = 10  # Pareto's index
GRACE = 30_000_000_000  # ns
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")  # Prometheus's


class Duration(int):
    """Nanoseconds; written as `250ms`, `1.5s`, `2m`."""

    @classmethod
    def parse(cls, text: object) -> "Duration":
        found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f'{text!r} is no duration: write a number and a unit, as in "250ms", "1.5s" or "2m"')
        return cls(round(float(found[1]) * _UNITS[found[2]]))

    def __str__(self) -> str:
        unit = next(unit for unit in ("m", "s", "ms", "us") if self % _UNITS[unit] == 0 or unit == "us")
        return f"{self // _UNITS[unit]}{unit}"


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the file: its fields are the only keys."""


class Timeouts(Closed, frozen=True):
    connect: Duration = Duration.parse("5s")
    first_token: Duration = Duration.parse("30s")  # from the request's start to the first content
    idle: Duration = Duration.parse("30s")  # between two reads
    total: Duration = Duration.parse("300s")


class Limits(Closed, frozen=True):
    """What a hostile server may send before the stream is given up as malformed."""

    stream_bytes: int = 8_000_000
    event_bytes: int = 1_000_000


class Events(Closed, frozen=True):
    """A team's own stream format. Paths are dotted, into the JSON of an event's data: `choices.0.delta.text`."""

    text: str | None = None  # None: the data itself is the text
    thinking: str | None = None
    tool: str | None = None
    error: str | None = None  # its presence makes the event an in-band error
    input_tokens: str | None = None
    output_tokens: str | None = None
    stop_reason: str | None = None
    end_data: str | None = None  # the stream has ended when an event's data is this,
    end_event: str | None = None  # or its event name is this,
    end_path: str | None = None  # or this path holds something true


class Metrics(Closed, frozen=True):
    """The page on which the server tells Prometheus of itself. The names are those of the reference server."""

    url: str  # or its path on the host of the run
    active: str = "reference_streams_active"  # a gauge: the answers that are being generated
    generated: str = "reference_tokens_generated_total"  # a counter: the tokens generated, ever
    headers: dict[str, str] = {}


class Target(Closed, frozen=True):
    protocol: str = "anthropic_messages"  # one of PROTOCOLS
    path: str | None = None  # default by protocol
    model: str = "reference"
    headers: dict[str, str] = {}
    max_tokens: int = 400
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    verify: bool = True  # the TLS certificate
    events: Events | None = None  # for protocol = "custom"
    metrics: Metrics | None = None  # None: nobody asks the server what it does


class Where(Closed, frozen=True):
    """Which streams a rule is about; every key given must match."""

    scenario: str | None = None
    user: str | None = None
    network: str | None = None
    behaviour: str | None = None
    protocol: str | None = None
    client: str | None = None
    answer: Literal["streamed", "whole"] | None = None  # None: metrics of streaming are of the streamed ones
    cache: Literal["hit", "miss"] | None = None  # whether prompt tokens came from the server's cache, as it reported
    label: dict[str, str] = {}


class Sla(Closed, frozen=True):
    rule: str
    where: Where = Where()
    min_samples: int = 0  # with fewer, the rule is not judged
    lasting: Duration | None = msgspec.field(default=None, name="for")  # missed only if it stays so for so long
    severity: Literal["fail", "warn"] = "fail"  # warn: told, but the run's verdict does not depend on it
    abort: bool = False  # end a run that has missed it, without waiting for the rest
    grace: Duration | None = None  # how long a run may take before it is ended; None: GRACE


class Good(Closed, frozen=True):
    """What an answer must keep to count in the goodput; None: any."""

    ttft: Duration | None = None
    tpot: Duration | None = None
    e2e: Duration | None = None
    longest_stall: Duration | None = None


class Reader(Closed, frozen=True):
    """Who reads the answers, for the metrics of smoothness, and what is good enough for them."""

    characters_per_second: float = 24.0  # some 55 skims, 110 reads as fast as it types
    good: Good = Good()


REGRESSION_TESTS = ("t", "mann_whitney")
FEWEST_BASELINE_RUNS = 10  # with fewer, false alarms pass 1 %: tests/pure/test_gate_simulation.py


class Regression(Closed, frozen=True):
    """What the regression gate watches, and what it may overlook."""

    metrics: tuple[str, ...] = ("p95(ttft)", "p95(itl)")  # without a limit: rates, or aggregations of a metric
    margin: float = 0.05  # a smaller change is not worth telling
    margin_points: float = 0.01  # the same for a share such as error_rate, as a difference
    may_hide: float = 0.2  # OK needs runs that rule out a larger regression
    may_hide_points: float = 0.05
    window: int = 20  # so many of the newest accepted runs are compared with
    test: str = "t"  # one of REGRESSION_TESTS


class Silences(Closed, frozen=True):
    """Times in which a link carries nothing. Their lengths have Pareto's distribution between two bounds."""

    every: Duration  # mean time from the end of one to the beginning of the next
    shortest: Duration
    longest: Duration
    tail: float = 1.0  # Pareto's index: the larger, the rarer are long ones; 0: as many from 1 to 2 s as from 2 to 4


class Handovers(Closed, frozen=True):
    """A phone goes over to another cell, or from a cell to a wifi: a silence, or the end of its connections."""

    every: Duration  # on average
    shortest: Duration = Duration(0)  # of the silence
    longest: Duration = Duration(0)
    resets: float = 0.0  # which share of them breaks connections instead


class Profile(Closed, frozen=True):
    """What a link does."""

    rtt: Duration = Duration(0)
    jitter: Duration = Duration(0)  # mean of an exponential delay on top of each half of the round trip
    down_kbit: float = 0.0  # 0: any rate
    up_kbit: float = 0.0
    burst_bytes: int = 0  # what a link that was idle carries at once
    loss: float = 0.0  # share of segments
    stalls: Silences | None = None
    handovers: Handovers | None = None
    trace: str | None = None  # a file with the deliveries of a recorded link, in place of down_kbit and silences


class Load(Closed, frozen=True):
    """An open load: streams become due on a schedule, whatever the server does. `drive.schedule` checks it."""

    arrivals: str | None = None  # "constant", "poisson" or "file:PATH"; None: a closed load, Locust's users as they are
    rate: float | None = None  # arrivals a second; not with a file


class Config(Closed, frozen=True):
    target: Target = Target()
    load: Load = Load()
    sla: list[Sla] = []
    reader: Reader = Reader()
    regression: Regression = Regression()
    networks: dict[str, Profile] = {}


def load(path: str | os.PathLike[str]) -> Config:
    """Read a config file. ConfigError, in one line, for whatever is wrong with it."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    return parse(text, str(path))


def parse(text: bytes, name: str = "streamgauge.toml") -> Config:
    """The text of a config file → Config; `name` is what errors call it."""
    try:
        config = msgspec.toml.decode(text, type=Config, dec_hook=decode)
    except msgspec.ValidationError as fault:
        raise ConfigError(f"{name}: {_name_network(_explain(str(fault)), text)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{name}: not valid TOML: {fault}") from None
    _check(config.target, name)
    if not 1 <= config.reader.characters_per_second < math.inf:
        speed = config.reader.characters_per_second
        raise ConfigError(f"{name}: reader.characters_per_second: {speed} is no number of 1 or more")
    if config.reader.good == Good() and any("goodput" in each.rule for each in config.sla):
        raise ConfigError(f'{name}: goodput of what? Say it under [reader], as in good = {{ ttft = "1s" }}')
    _check_regression(config.regression, name)
    for network, profile in config.networks.items():
        fault_of = _fault_of(profile)
        if fault_of is not None:
            raise ConfigError(f"{name}: networks.{network}.{fault_of}")
    return config


def encode_target(target: Target) -> bytes:
    """For the way to a worker; variables stay unfilled, so that each machine uses its own environment's."""
    return msgspec.json.encode(target, enc_hook=str)


def decode_target(data: bytes) -> Target:
    return msgspec.json.decode(data, type=Target, dec_hook=decode)


def encode_networks(networks: Mapping[str, Profile]) -> bytes:
    """For the way to a worker. A trace goes as its path: each machine reads its own file."""
    return msgspec.json.encode(networks, enc_hook=str)


def decode_networks(data: bytes) -> dict[str, Profile]:
    return msgspec.json.decode(data, type=dict[str, Profile], dec_hook=decode)


def headers(target: Target, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The target's headers with `${NAME}` filled in from the environment. Use them, never store them."""
    return _filled_headers("target.headers", target.headers, environ)


def metrics(target: Target, environ: Mapping[str, str] = os.environ) -> Metrics | None:
    """The target's metrics page with `${NAME}` filled in, in its URL too. Use it, never store it."""
    page = target.metrics
    if page is None:
        return None
    url = _filled("target.metrics.url", page.url, environ)
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound and not (url.startswith("/") and not url.startswith("//")):
        raise ConfigError(
            f"target.metrics.url: {_public_url(page.url)!r} is no URL; write one as https://host:port/metrics, "
            f"or a path on the run's host as /metrics"
        )
    filled = _filled_headers("target.metrics.headers", page.headers, environ)
    return msgspec.structs.replace(page, url=url, headers=filled)


def public(target: Target) -> dict[str, Any]:
    """What may be stored and shown of a target: all but the values of its headers, and what a URL may hide."""
    shown: dict[str, Any] = msgspec.to_builtins(target, enc_hook=str)
    if target.headers:
        shown["headers"] = dict.fromkeys(target.headers, "…")
    if target.metrics is not None:
        shown["metrics"]["url"] = _public_url(target.metrics.url)
        if target.metrics.headers:
            shown["metrics"]["headers"] = dict.fromkeys(target.metrics.headers, "…")
    return shown


def _public_url(url: str) -> str:
    """Without a user's name, password and query, and with its variables as they are written."""
    return re.sub(r"[?#].*", "?…", re.sub(r"//[^/?#]*@", "//…@", url), flags=re.DOTALL)


def _filled(place: str, text: str, environ: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise ConfigError(
                f"{place}: the environment has no variable {found[1]!r}; "
                f"set it, or take ${{{found[1]}}} out of the config"
            )
        return environ[found[1]]

    return _VARIABLE.sub(fill, text)


def _filled_headers(place: str, given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    filled = {name: _filled(f"{place}.{name}", value, environ) for name, value in given.items()}
    for name, value in filled.items():
        if "\n" in value or "\r" in value:
            raise ConfigError(f"{place}.{name}: a header's value cannot hold a line break")
    return filled


def decode(kind: type, value: object) -> object:
    """msgspec's `dec_hook` for whatever holds types of this module."""
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a new type in Config needs its line above


def _check(target: Target, name: str) -> None:
    if target.protocol not in PROTOCOLS:
        raise ConfigError(
            f"{name}: target.protocol: no protocol called {target.protocol!r}; there are {', '.join(PROTOCOLS)}"
        )
    if target.protocol == "custom" and target.events is None:
        raise ConfigError(f'{name}: target.protocol = "custom" needs a table [target.events] that maps the events')
    if target.protocol != "custom" and target.events is not None:
        raise ConfigError(f'{name}: [target.events] goes with target.protocol = "custom", not {target.protocol!r}')
    if target.events and not (target.events.end_data or target.events.end_event or target.events.end_path):
        raise ConfigError(
            f"{name}: [target.events] does not say what ends a stream: give end_data, end_event or end_path"
        )
    if target.path is not None and not target.path.startswith("/"):
        raise ConfigError(f"{name}: target.path: {target.path!r} does not begin with a slash")
    if target.max_tokens < 1:
        raise ConfigError(f"{name}: target.max_tokens: {target.max_tokens} is not a positive number")
    for limit in ("stream_bytes", "event_bytes"):
        if getattr(target.limits, limit) < 1:
            raise ConfigError(f"{name}: target.limits.{limit}: must be a positive number of bytes")
    _check_headers(target.headers, f"{name}: target.headers")
    if target.metrics is not None:
        _check_headers(target.metrics.headers, f"{name}: target.metrics.headers")
        for key in ("active", "generated"):
            metric = getattr(target.metrics, key)
            if not _METRIC_NAME.fullmatch(metric):
                raise ConfigError(f"{name}: target.metrics.{key}: {metric!r} is no metric's name (it has no labels)")


def _check_headers(given: Mapping[str, str], place: str) -> None:
    for header in given:
        if not _HEADER_NAME.fullmatch(header):
            raise ConfigError(f"{place}: {header!r} is no header name")


def _check_regression(regression: Regression, name: str) -> None:
    for key in ("margin", "margin_points", "may_hide", "may_hide_points"):
        if not 0 <= getattr(regression, key) < math.inf:
            raise ConfigError(f"{name}: regression.{key}: {getattr(regression, key)} is no share; write 0.05 for 5 %")
    if not regression.metrics:
        raise ConfigError(f"{name}: regression.metrics: empty; name what may not get worse, as in p95(ttft)")
    if regression.window < FEWEST_BASELINE_RUNS:
        raise ConfigError(
            f"{name}: regression.window: {regression.window} runs are too few; the gate needs {FEWEST_BASELINE_RUNS}"
        )
    if regression.test not in REGRESSION_TESTS:
        raise ConfigError(
            f"{name}: regression.test: no test called {regression.test!r}; there are {', '.join(REGRESSION_TESTS)}"
        )


def _fault_of(profile: Profile) -> str | None:
    """What a link cannot be like: the key, and why. Durations have no sign already."""
    for key in ("down_kbit", "up_kbit", "burst_bytes"):
        if not 0 <= getattr(profile, key) < math.inf:
            return f"{key}: {getattr(profile, key)} is negative or no number; 0 means no limit"
    if not 0 <= profile.loss <= _MOST_LOST:
        return f"loss: {profile.loss} is no share from 0 to {_MOST_LOST}"
    if profile.trace is not None and (profile.down_kbit or profile.burst_bytes or profile.stalls or profile.handovers):
        return "trace: it says when the link delivers; take down_kbit, burst_bytes, stalls and handovers out"
    for key, silences in (("stalls", profile.stalls), ("handovers", profile.handovers)):
        if silences is None:
            continue
        if silences.every == 0:
            return f"{key}.every: must be longer than nothing"
        if silences.shortest > silences.longest:
            return f"{key}.longest: {silences.longest} is shorter than the shortest, {silences.shortest}"
    if profile.stalls and profile.stalls.shortest == 0:
        return "stalls.shortest: must be longer than nothing"
    if profile.stalls and not 0 <= profile.stalls.tail <= _STEEPEST:
        return f"stalls.tail: {profile.stalls.tail} is no number from 0 to {_STEEPEST}"
    if profile.handovers and not 0 <= profile.handovers.resets <= 1:
        return f"handovers.resets: {profile.handovers.resets} is no share from 0 to 1"
    if profile.handovers and profile.handovers.resets < 1 and profile.handovers.shortest == 0:
        return "handovers.shortest: must be longer than nothing where not all of them are resets"
    return None


def _name_network(message: str, text: bytes) -> str:
    """The message with the name of the network that it is about, which msgspec keeps to itself."""
    if not message.startswith("networks[...]"):
        return message
    for name, table in msgspec.toml.decode(text)["networks"].items():
        try:
            msgspec.convert(table, Profile, dec_hook=decode)
        except msgspec.ValidationError:
            return message.replace("networks[...]", f"networks.{name}", 1)
    return message


_FAULT = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)


def _explain(message: str) -> str:
    """msgspec's message → path, fault, and what exists at that place."""
    found = _FAULT.fullmatch(message)
    assert found is not None
    what, path = found["what"], (found["path"] or "$")
    place = path.removeprefix("$").removeprefix(".")
    here = f"{place}: " if place else ""
    unknown, missing = (re.search(rf"{how} field `([^`]*)`", what) for how in ("unknown", "missing required"))
    table = _table_at(path)
    if missing:
        return f"{here}the key {missing[1]!r} is missing"
    if unknown and table:
        return f"{here}no key called {unknown[1]!r}; there are {', '.join(table.__struct_encode_fields__)}"
    return f"{here}{what[:1].lower()}{what[1:]}" if place else what


def _table_at(path: str) -> type[Closed] | None:
    """The struct that a path such as `$.target.timeouts` or `$.sla[0]` leads to."""
    kind: Any = Config
    for name, index in re.findall(r"\.(\w+)|(\[[^]]*\])", path):
        if name:
            kind = typing.get_type_hints(kind).get(name) if isinstance(kind, type) else None
        elif index:
            kind = get_args(kind)[-1] if get_args(kind) else None
        if get_origin(kind) in {types.UnionType, typing.Union}:
            kind = next((option for option in get_args(kind) if option is not type(None)), None)
    return kind if isinstance(kind, type) and issubclass(kind, Closed) else None
