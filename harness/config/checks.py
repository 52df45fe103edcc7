"""Checks of a config that types cannot express: ranges, names, and keys that exclude each other.

`faults` gives each fault as a line without the file's name: `target.max_tokens: 0 is not a positive number`.
"""

import math
import re
from collections.abc import Iterator, Mapping

from streamgauge.harness.config import alerts, header_names, monitor_checks, template
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.presets import PRESETS
from streamgauge.harness.config.schema import (
    FIRST_RUNS,
    FRESH_RUNS,
    Config,
    Events,
    Good,
    Handovers,
    Metrics,
    Place,
    Prices,
    Profile,
    Reader,
    Regression,
    Request,
    Silences,
    Sla,
    Target,
)
from streamgauge.harness.near_miss import listed

_SECOND = Duration.parse("1s")
_MOST_LOST = 0.5  # share of segments; with more, TCP hardly delivers anything
_STEEPEST = 10  # Pareto's index
_SECRET_ANSWERS = {"set-cookie", "set-cookie2", "authentication-info", "proxy-authentication-info"}
_ROLES = {"system", "user", "assistant"}
_DEAREST = 1e12  # a price: in any currency; with more, a cost would be no number that can be stored
_CURRENCY = re.compile(r"[A-Za-z]{1,10}")
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")  # Prometheus's


def faults(config: Config) -> Iterator[str]:
    yield from _of_target(config.target)
    yield from of_reader(config.reader)
    if config.reader.good == Good() and any("goodput" in sla.rule for sla in config.sla):
        yield 'goodput needs limits: write them under [reader], as in good = { ttft = "1s" }'
    for number, sla in enumerate(config.sla):
        yield from (f"sla[{number}]{fault}" for fault in _of_sla(sla))
    yield from _of_regression(config.regression)
    for name, profile in config.networks.items():
        yield from (f"networks.{name}.{fault}" for fault in _of_profile(profile))
    yield from alerts.faults(config.alert)
    yield from monitor_checks.faults(config)


def _of_target(target: Target) -> Iterator[str]:
    if target.protocol == "custom" and target.events is None:
        yield 'target.protocol = "custom" needs a table [target.events] that maps the events'
    if target.protocol != "custom" and target.events is not None:
        yield f'[target.events] goes with target.protocol = "custom", not {target.protocol!r}'
    yield from _of_places(target.events or Events())
    yield from _of_end(target)
    for key in ("path", "whole_path"):
        path = getattr(target, key)
        if path is not None and not path.startswith("/"):
            yield f"target.{key}: {path!r} does not begin with a slash"
        yield from template.faults(f"target.{key}", path)
    if target.request is not None:
        yield from _of_request(target, target.request)
    request = target.request or Request()
    parts = {key: getattr(request, key) for key in ("body", "message", "tool", "defaults")}
    for place, number in template.numbers("target", {"body": target.body, "request": parts}):
        if not math.isfinite(number):
            yield f"{place}: {number} cannot be written in JSON"
    if target.credentials is not None and (target.credentials.file is None) == (target.credentials.variable is None):
        yield "[target.credentials]: give either file or variable"
    if target.max_tokens < 1:
        yield f"target.max_tokens: {target.max_tokens} is not a positive number"
    for limit in ("stream_bytes", "event_bytes"):
        if getattr(target.limits, limit) < 1:
            yield f"target.limits.{limit}: must be a positive number of bytes"
    yield from _of_headers(target.headers, "target.headers")
    yield from _of_replica_header(target.replica_header)
    yield from _of_metrics(target.metrics)
    yield from (f"target.{fault}" for fault in of_prices(target.prices))


def _of_end(target: Target) -> Iterator[str]:
    events = target.events
    if events is not None and events.framing == "text":
        if events != Events(framing="text"):
            yield 'target.events.framing = "text": text as it comes has no events; remove the other keys'
        if target.end != "close":
            yield 'target.events.framing = "text" needs target.end = "close": nothing in the text ends it'
        return
    marked = events is None or events.end or events.end_data or events.end_event or events.end_path
    if not marked and target.end in {None, "marker"}:
        yield (
            "[target.events] does not say what ends a stream: give end, end_data, end_event or end_path; "
            'or write target.end = "close" or "finish_reason"'
        )
    if target.end == "finish_reason" and target.protocol == "plain_sse":
        yield 'target.end = "finish_reason": plain_sse has no stop reasons; there are "marker" and "close"'
    if target.end == "finish_reason" and events is not None and events.stop_reason is None:
        yield 'target.end = "finish_reason" needs target.events.stop_reason'


def _of_places(events: Events) -> Iterator[str]:
    for key in events.__struct_fields__:
        places = getattr(events, key)
        for place in places if isinstance(places, list) else [places]:
            if isinstance(place, Place) and place.sum and (place.at is not None or not key.endswith("_tokens")):
                yield f"target.events.{key}: `sum` adds up counts of tokens; it goes with no `at`"
            if isinstance(place, Place) and place.whole and key not in {"text", "thinking", "tool"}:
                yield f"target.events.{key}: `whole` is for text, thinking and tool"


def _of_request(target: Target, request: Request) -> Iterator[str]:
    yield from template.faults("target.request.query", request.query)
    yield from template.faults("target.request.body", request.body)
    yield from template.faults("target.request.message", request.message, template.OF_MESSAGE)
    yield from template.faults("target.request.tool", request.tool, template.OF_TOOL)
    if request.body is not None and request.method == "GET":
        yield "target.request.body: a GET has no body; write the question into query or path"
    if request.body is not None and (target.body or target.omit):
        yield "target.request.body is the whole body: write there what target.body and target.omit would change"
    for key in ("message", "roles", "tool", "defaults"):
        if getattr(request, key) and request.body is None:
            yield f"target.request.{key} shapes what target.request.body has, and there is none"
    if request.message is not None and not template.mentions(request.message, {"text"}):
        yield "target.request.message has no {text}: the question would never be asked"
    if unknown := sorted(set(request.roles) - _ROLES):
        yield f"target.request.roles: no role called {unknown[0]!r}; there are {listed(unknown[0], sorted(_ROLES))}"
    if unknown := sorted(set(request.defaults) - set(template.NAMES)):
        yield f"target.request.defaults: no place called {unknown[0]!r}; there are {listed(unknown[0], template.NAMES)}"
    own = {"path": target.path, "query": request.query, "body": request.body}
    if (request.body is not None or request.method == "GET") and not template.asks(own):
        yield "[target.request] has neither {prompt} nor {messages}: the question would never be asked"


def _of_metrics(metrics: Metrics | None) -> Iterator[str]:
    if metrics is None:
        return
    yield from _of_headers(metrics.headers, "target.metrics.headers")
    for key in ("active", "generated"):
        name = getattr(metrics, key)
        if not _METRIC_NAME.fullmatch(name):
            yield f"target.metrics.{key}: {name!r} is not a metric's name: write it without labels"


def _of_replica_header(name: str | None) -> Iterator[str]:
    if name is None:
        return
    if not header_names.NAME.fullmatch(name):
        yield f"target.replica_header: {name!r} is not a header's name, such as x-served-by"
    if name.lower() in _SECRET_ANSWERS:
        yield f"target.replica_header: {name!r} may hold a secret, and its values are stored; name another header"


def _of_headers(headers: Mapping[str, str], place: str) -> Iterator[str]:
    for name in headers:
        if not header_names.NAME.fullmatch(name):
            yield f"{place}: {name!r} is not a header name"


def of_prices(prices: Prices | None) -> Iterator[str]:
    if prices is None:
        return
    for key in ("input", "output", "cache_read", "cache_write"):
        price = getattr(prices, key)
        if price is not None and not 0 <= price <= _DEAREST:
            yield f"prices.{key}: {price} is not a price of a million tokens: write a number from 0 to {_DEAREST:g}"
    if not _CURRENCY.fullmatch(prices.currency):
        yield f"prices.currency: {prices.currency!r} is not a currency: write a code such as USD"


def of_reader(reader: Reader) -> Iterator[str]:
    if not 1 <= reader.characters_per_second < math.inf:
        yield f"reader.characters_per_second: {reader.characters_per_second} is not a number of 1 or more"


def _of_sla(sla: Sla) -> Iterator[str]:
    """The rule's text is not checked: the judge's parser does that."""
    if sla.preset is None and not sla.rule:
        yield ": the key 'rule' is missing, or 'preset' in its place"
    elif sla.preset is not None and sla.rule:
        yield ": rule and preset exclude each other; to replace a rule of the preset, write a [[sla]] of its own below"
    elif sla.preset is not None and sla.preset not in PRESETS:
        yield f".preset: no preset called {sla.preset!r}; there are {listed(sla.preset, PRESETS)}"


def _of_regression(regression: Regression) -> Iterator[str]:
    for key in ("margin", "margin_points", "may_hide", "may_hide_points"):
        if not 0 <= getattr(regression, key) < math.inf:
            yield f"regression.{key}: {getattr(regression, key)} is not a share: write 0.05 for 5 %"
    if not regression.metrics:
        yield "regression.metrics: empty: name what may not get worse, as in p95(ttft)"
    for key, allowed in (("first_runs", FIRST_RUNS), ("fresh_runs", FRESH_RUNS)):
        if getattr(regression, key) not in allowed:
            yield f"regression.{key}: {getattr(regression, key)}: write a number from {allowed[0]} to {allowed[-1]}"
    if regression.run_time is not None and (regression.run_time <= 0 or regression.run_time % _SECOND):
        yield f'regression.run_time: {regression.run_time}: write whole seconds, as in "40s"'
    if regression.window < regression.fewest_baseline_runs:
        needed = regression.fewest_baseline_runs
        yield (
            f"regression.window: {regression.window} runs are too few: with first_runs = {regression.first_runs} and "
            f"fresh_runs = {regression.fresh_runs}, the gate needs {needed}"
        )


def _of_profile(profile: Profile) -> Iterator[str]:
    """Durations are not checked: the parser accepts no negative ones."""
    for key in ("down_kbit", "up_kbit", "burst_bytes"):
        if not 0 <= getattr(profile, key) < math.inf:
            yield f"{key}: {getattr(profile, key)} is negative or infinite: 0 means no limit"
    if not 0 <= profile.loss <= _MOST_LOST:
        yield f"loss: {profile.loss} is not a share from 0 to {_MOST_LOST}"
    if profile.trace is not None and (profile.down_kbit or profile.burst_bytes or profile.stalls or profile.handovers):
        yield "trace: it says when the link delivers: remove down_kbit, burst_bytes, stalls and handovers"
    if profile.stalls is not None:
        yield from (f"stalls.{fault}" for fault in _of_stalls(profile.stalls))
    if profile.handovers is not None:
        yield from (f"handovers.{fault}" for fault in _of_handovers(profile.handovers))


def _of_stalls(stalls: Silences) -> Iterator[str]:
    yield from _of_lengths(stalls)
    if stalls.shortest == 0:
        yield "shortest: must be more than 0"
    if not 0 <= stalls.tail <= _STEEPEST:
        yield f"tail: {stalls.tail} is not a number from 0 to {_STEEPEST}"


def _of_handovers(handovers: Handovers) -> Iterator[str]:
    yield from _of_lengths(handovers)
    if not 0 <= handovers.resets <= 1:
        yield f"resets: {handovers.resets} is not a share from 0 to 1"
    elif handovers.resets < 1 and handovers.shortest == 0:
        yield "shortest: must be more than 0 unless every handover resets (resets = 1)"


def _of_lengths(silences: Silences | Handovers) -> Iterator[str]:
    if silences.every == 0:
        yield "every: must be more than 0"
    if silences.shortest > silences.longest:
        yield f"longest: {silences.longest} is shorter than the shortest, {silences.shortest}"
