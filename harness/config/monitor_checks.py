"""Checks of [monitor] and [[slo]] that types cannot express. `faults` gives each fault as a line, as `checks` does."""

import re
from collections.abc import Iterator

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Config, Maintenance, Monitor, MonitorTarget, Slo
from streamgauge.harness.config.urls import is_url
from streamgauge.harness.near_miss import listed

_SECOND, _HOUR, _DAY = (Duration.parse(text) for text in ("1s", "1h", "1d"))
_SHORTEST_WINDOW = _HOUR  # the fastest alert looks at the last hour
_LONGEST_WINDOW = 90 * _DAY
_LONGEST_KEPT = 400 * _DAY
_MOST_TARGETS = 50  # each is a process of its own
_MOST_SLOS = 100
_NAME = re.compile(r"\S(?:.{0,58}\S)?")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,49}")
_LONGEST_VALUE = 200  # characters of a label's value
_LONGEST_URL = 1_000  # characters
_MOST_TOKENS = 10**12  # a day
_HIGHEST_OBJECTIVE = 0.999_99  # a probe a minute is half a million a year: five of them may be bad
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_REGIONS = re.compile(r"\s*(\d{1,3})\s+of\s+(\d{1,3})\s*")
REGION = "region"  # the label by which `regions` groups the targets
TARGET = "target"  # the label that is the target's name
PROBES_ARRIVE = "every:"  # what load.arrivals of a monitor's runs begins with


def faults(config: Config) -> Iterator[str]:
    monitor = config.monitor
    yield from (f"monitor.{fault}" for fault in _of_monitor(monitor))
    yield from _of_targets(monitor.target)
    for number, maintenance in enumerate(monitor.maintenance):
        yield from (f"monitor.maintenance[{number}]{fault}" for fault in _of_maintenance(maintenance, monitor))
    if len(config.slo) > _MOST_SLOS:
        yield f"slo: {len(config.slo)} of them; write at most {_MOST_SLOS}"
    names: set[str] = set()
    for number, slo in enumerate(config.slo):
        yield from (f"slo[{number}]{fault}" for fault in _of_slo(slo, monitor))
        if slo.name in names:
            yield f"slo[{number}].name: a second one called {slo.name!r}: give each [[slo]] a name of its own"
        names.add(slo.name)


def regions(text: str) -> tuple[int, int] | None:
    """(2, 3) for "2 of 3"; None if it is not written like that."""
    match = _REGIONS.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


def _of_monitor(monitor: Monitor) -> Iterator[str]:
    if not _SECOND <= monitor.every <= _DAY:
        yield f'every: {monitor.every}: write a time from "1s" to "1d"'
    if monitor.tokens_per_day < 1:
        yield f"tokens_per_day: {monitor.tokens_per_day} is not a number of tokens: write 1 or more"
    if monitor.tokens_per_day > _MOST_TOKENS:
        yield f"tokens_per_day: {monitor.tokens_per_day:.3g} is no budget: write at most {_MOST_TOKENS}"
    for key in ("url", "otlp", "heartbeat"):
        url = getattr(monitor, key)
        if url is not None and not (key != "url" and "${" in url):
            yield from _of_url(key, url, key)
    if not _HOUR <= monitor.keep_raw <= _LONGEST_KEPT:
        yield f'keep_raw: {monitor.keep_raw}: write a time from "1h" to "400d"'


def _of_targets(targets: list[MonitorTarget]) -> Iterator[str]:
    if len(targets) > _MOST_TARGETS:
        yield f"monitor.target: {len(targets)} of them, and each is a process: write at most {_MOST_TARGETS}"
    names: set[str] = set()
    for number, target in enumerate(targets):
        place = f"monitor.target[{number}]"
        yield from (f"{place}{fault}" for fault in _of_name(target.name))
        if target.name in names:
            yield f"{place}.name: a second one called {target.name!r}: give each target a name of its own"
        names.add(target.name)
        yield from _of_url(f"{place}.host", target.host, "host")
        yield from (f"{place}.labels{fault}" for fault in _of_labels(target.labels))
        if target.path is not None and not target.path.startswith("/"):
            yield f"{place}.path: {target.path!r} does not begin with a slash"


def _of_url(place: str, url: str, key: str) -> Iterator[str]:
    """It never quotes what may be a secret: what is before an @, and behind a question mark."""
    example = {"host": "https://staging.example", "url": "https://status.example", "otlp": "http://127.0.0.1:4318"}
    if "@" in url:
        other = "use target.headers" if key == "host" else "write ${NAME}, and set NAME in the environment"
        yield f"{place}: holds a user name or password: {other}"
        return
    if "${" in url:
        yield f"{place}: variables are not filled in here: write the URL itself"
        return
    query = key != "heartbeat" and re.search(r"[?#]", url)
    if query:
        yield f"{place}: has a query or a fragment, which may hold a key: leave it out"
    elif not _is_url(url):
        yield f"{place}: {url[:60]!r} is no URL: write it as in {example.get(key, 'https://hc.example/ping/${KEY}')}"


def _is_url(text: str) -> bool:
    return is_url(text) and len(text) <= _LONGEST_URL and not re.search(r"[\s\x00-\x1f\x7f]", text)


def _of_labels(labels: dict[str, str]) -> Iterator[str]:
    """They become labels of Prometheus, in which `a-b` and `a_b` are one."""
    written: dict[str, str] = {}
    for name, value in labels.items():
        there = written.setdefault(re.sub(r"[.-]", "_", name), name)
        if name == TARGET:
            yield f".{TARGET}: this label is the target's name already; take another one"
        elif not _LABEL.fullmatch(name):
            yield f": {name[:60]!r} is not a label's name: write a letter and up to 49 more, digits, `_`, `-` or `.`"
        elif there != name:
            yield f".{name}: Prometheus has the same name for {there!r}: take another one"
        if not value.isprintable() or len(value) > _LONGEST_VALUE:
            yield f".{name[:60]}: its value is not up to {_LONGEST_VALUE} printable characters"


def _of_name(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name) or not name.isprintable():
        yield f".name: {name[:60]!r} is not a name: write up to 60 printable characters"


def _of_maintenance(given: Maintenance, monitor: Monitor) -> Iterator[str]:
    once, weekly = (given.begins, given.ends), (given.day, given.at, given.lasts)
    if not ((None not in once and weekly == (None,) * 3) or (None not in weekly and once == (None,) * 2)):
        yield ": give either begins and ends, or day, at and lasts"
    for key in ("begins", "ends"):
        moment = getattr(given, key)
        if moment is not None and moment.tzinfo is None:
            yield f".{key}: {moment.isoformat()} has no time zone: write a Z behind it for UTC"
            return
    if given.begins is not None and given.ends is not None and given.begins >= given.ends:
        yield f".ends: {given.ends.isoformat()} is not after begins, {given.begins.isoformat()}"
    if given.at is not None and not _TIME.fullmatch(given.at):
        yield f'.at: {given.at[:20]!r} is not a time of day: write it as in "02:30"; it is UTC'
    if given.lasts is not None and not 0 < given.lasts < (_DAY if given.day == "every" else 7 * _DAY):
        yield f".lasts: {given.lasts}: must be more than 0, and end before the next one begins"
    yield from _unknown(given.targets, monitor)


def _unknown(names: tuple[str, ...], monitor: Monitor) -> Iterator[str]:
    known = [target.name for target in monitor.target]
    for name in names:
        if name not in known:
            there = f"there are {listed(name, known)}" if known else "there are none"
            yield f".targets: no target called {name!r}; {there}"


def _of_slo(slo: Slo, monitor: Monitor) -> Iterator[str]:
    yield from _of_name(slo.name)
    if slo.objective >= 1:
        yield '.objective: 100 % leaves no error budget, so the first bad probe spends it: write less, as in "99.9%"'
    elif slo.objective > _HIGHEST_OBJECTIVE:
        yield f'.objective: {100 * slo.objective:.15g} % is more than probes can show: write at most "99.999%"'
    if slo.objective <= 0:
        yield '.objective: 0 % is reached by any endpoint: write more, as in "99%"'
    if slo.window < monitor.every:
        yield f".window: {slo.window} is shorter than monitor.every, {monitor.every}, and holds no probe: lengthen it"
    elif not _SHORTEST_WINDOW <= slo.window <= _LONGEST_WINDOW:
        yield f'.window: {slo.window}: write a time from "1h", over which the fastest alert looks, to "90d"'
    for key in ("failures", "successes"):
        number = getattr(slo, key)
        if number is not None and not 1 <= number <= 1000:
            yield f".{key}: {number}: write a number of probes from 1 to 1000"
    if slo.failures is None and slo.successes != Slo(name="", good="").successes:
        yield ".successes: goes with failures: without it, burn rates say when an alert is over; write failures, too"
    yield from _of_where(slo, monitor)
    if slo.regions is not None:
        yield from _of_regions(slo.regions, monitor)


def _of_where(slo: Slo, monitor: Monitor) -> Iterator[str]:
    """A label of the targets has only the values that they give it; any other label is one of the streams."""
    for label, value in slo.where.label.items():
        values = [target.name if label == TARGET else target.labels.get(label) for target in monitor.target]
        known = list(dict.fromkeys(each for each in values if each is not None))
        if known and value not in known:
            yield f".where.label.{label}: no target has {value!r}; there are {listed(value, known)}"


def _of_regions(written: str, monitor: Monitor) -> Iterator[str]:
    found = regions(written)
    if found is None:
        yield f'.regions: {written[:40]!r}: write it as in "2 of 3"'
        return
    bad, of = found
    there = list(dict.fromkeys(target.labels.get(REGION) for target in monitor.target))
    if None in there:
        missing = next(target.name for target in monitor.target if REGION not in target.labels)
        yield f'.regions: the target {missing!r} has no region: write labels = {{ region = "…" }} there'
    elif of != len(there):
        yield f".regions: {written!r}, but the targets have {len(there)} ({', '.join(map(str, there))})"
    if not 1 <= bad <= of:
        yield f'.regions: {written!r}: the first number must be from 1 to the second, as in "2 of 3"'
