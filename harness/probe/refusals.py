"""What to change if the server refused the request, by its HTTP status and its words. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.protocols.protocol import JSON_FAULTS, line
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe

_UNKNOWN = re.compile(
    r"unsupported|not supported|unknown|unrecognized|unrecognised|not permitted|not allowed|extra|unexpected"
    r"|does not support|doesn't support|forbidden|not a valid|invalid argument|no such|unavailable|only the default",
    re.IGNORECASE,
)
_MODEL = re.compile(r"model", re.IGNORECASE)
_ABSENT = re.compile(
    r"not[ _]found|does not exist|doesn't exist|unknown|invalid|no such|not available|unsupported", re.IGNORECASE
)
_KEY_HEADERS = re.compile(r"auth|key|token|secret|cookie|passw|session|sign", re.IGNORECASE)
_WITH_TLS = re.compile(r"https? request to an https|plain http request was sent to https", re.IGNORECASE)


def of_refusal(probe: Probe) -> Iterator[Advice]:
    """What would help, the most likely first."""
    assert probe.status is not None
    if _WITH_TLS.search(probe.words):
        yield Advice("The port speaks TLS. Write https:// in --host.")
        return
    told = list(of_words(probe))
    yield from told
    if told and probe.status not in {401, 403}:
        return
    advise = _BY_STATUS.get(probe.status)
    if advise is not None:
        yield from advise(probe)
    elif 300 <= probe.status < 400:
        yield from _redirect(probe)
    elif probe.status >= 500:
        yield Advice(
            "The server failed, or a proxy in front of it. Nothing in the config helps; look at the server's log."
        )


def of_words(probe: Probe) -> Iterator[Advice]:
    """What the server's words say about a key of the request's body."""
    if probe.site.request_format.content_type is None:
        return
    body, words = probe.site.request_format.json(probe.prompt), probe.words
    if "max_completion_tokens" in words and "max_tokens" in body:
        yield Advice(
            "This model takes max_completion_tokens in place of max_tokens.",
            _omitting(probe, "max_tokens", {"max_completion_tokens": probe.target.max_tokens}),
        )
        return
    if _MODEL.search(words) and _ABSENT.search(words) and _about_model(probe):
        yield Advice(
            f'The server does not know the model "{line(str(body.get("model")), 60)}". Write the name by which it '
            f"knows it{_where_models_are(probe)}.",
            lines.target(model="…"),
            likely=False,
        )
        return
    missing = list(_missing(probe))
    if missing:
        yield Advice(
            f"The request lacks {_and(missing)}. Add that to the body, or write the whole body as "
            "[target.request.body]: see docs/reference/requests.md.",
            lines.target(body=dict.fromkeys(missing, "…")),
            likely=False,
        )
    for key in _refused_keys(probe, body):
        yield from _without(probe, key)
        return


def _without(probe: Probe, key: str) -> Iterator[Advice]:
    top = key.partition(".")[0]
    if top in probe.target.body:
        yield Advice(f"The server does not take {key}, which is in [target.body]. Take it out of there.")
    elif probe.target.request is not None:
        yield Advice(f"The server does not take {key}, which is in [target.request.body]. Take it out of there.")
    elif top in {"messages", "model", "stream"}:
        return
    else:
        yield Advice(f"The server does not take {key}. Leave it out of the request.", _omitting(probe, key, {}))


def _omitting(probe: Probe, key: str, instead: dict[str, Any]) -> str:
    omit = [*dict.fromkeys((*probe.target.omit, key))]
    return lines.target(omit=omit, **({"body": instead} if instead else {}))


def _refused_keys(probe: Probe, body: Mapping[str, Any]) -> Iterator[str]:
    """The keys of the request that the server's words name as ones that it does not take."""
    keys = [f"{key}.{below}" for key, value in body.items() if isinstance(value, dict) for below in value]
    named = [place for place in _places(probe) if place in {*body, *keys}]
    if _UNKNOWN.search(probe.words):
        named += [key for key in (*keys, *body) if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", probe.words)]
        last = {key.rpartition(".")[2]: key for key in keys}
        named += [key for name, key in last.items() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", probe.words)]
    yield from dict.fromkeys(named)


def _details(probe: Probe) -> list[dict[str, Any]]:
    """FastAPI's list of what is wrong with a body."""
    try:
        decoded = msgspec.json.decode(probe.body)
    except JSON_FAULTS:
        return []
    detail = decoded.get("detail") if isinstance(decoded, dict) else None
    return [each for each in detail if isinstance(each, dict)][:20] if isinstance(detail, list) else []


def _place(detail: Mapping[str, Any]) -> str:
    place = detail.get("loc")
    steps = [str(step) for step in place if step != "body"] if isinstance(place, list) else []
    return line(".".join(steps), 80)


def _places(probe: Probe) -> list[str]:
    """The keys that the server complains of, except missing ones."""
    found = [_place(each) for each in _details(probe) if each.get("type") != "missing"]
    try:
        error = msgspec.json.decode(probe.body)["error"]["param"]
    except (*JSON_FAULTS, KeyError, TypeError, IndexError):
        error = None
    return [*found, *([error] if isinstance(error, str) and _UNKNOWN.search(probe.words) else [])]


def _missing(probe: Probe) -> Iterator[str]:
    for each in _details(probe):
        place = _place(each)
        if each.get("type") in {"missing", "value_error.missing"} and re.fullmatch(r"[A-Za-z_]\w*", place):
            yield place


def _about_model(probe: Probe) -> bool:
    """Whether the words complain of the model, and not of a parameter that "this model" does not take."""
    name = re.escape(probe.target.model)
    return bool(re.search(rf"model[ `'\":=]*{name}|{name}['`\" ]* (?:not|does)|model_not_found", probe.words, re.I))


def _where_models_are(probe: Probe) -> str:
    is_openai = probe.protocol.name == "openai_chat"
    return f"; {probe.site.endpoint.origin}{probe.site.endpoint.base}/v1/models lists them" if is_openai else ""


def _unauthorized(probe: Probe) -> Iterator[Advice]:
    sent = [name for name in probe.site.own_headers if _KEY_HEADERS.search(name)]
    wants_anthropic = probe.protocol.name == "anthropic_messages" or "x-api-key" in probe.words.lower()
    usual = {"x-api-key": "${API_KEY}"} if wants_anthropic else {"authorization": "Bearer ${API_KEY}"}
    if not sent:
        yield Advice(
            "No key was sent. Export it as API_KEY, and add the header in which the server expects it:",
            lines.target(headers=usual),
            likely=False,
        )
        return
    given = ", ".join(f"{name}: {shown}" for name, shown in _headers(probe, sent))
    yield Advice(
        f"The server does not accept what was sent ({given}). Is it the key of this server, and may it use this "
        f"model?{_other_header(probe, usual, sent)}",
        "" if set(usual) & set(sent) else lines.target(headers=usual),
        likely=False,
    )


def _headers(probe: Probe, names: list[str]) -> Iterator[tuple[str, str]]:
    for name, raw in probe.target.headers.items():
        if name.lower() in names:
            yield name.lower(), " ".join(re.findall(r"\$\{[^}]*\}", raw)) or "…"


def _other_header(probe: Probe, usual: Mapping[str, str], sent: list[str]) -> str:
    absent = [name for name in usual if name not in sent]
    scheme = probe.headers.get("www-authenticate", "")
    asked = f" The server asks for: {line(scheme, 60)}." if scheme else ""
    if absent:
        return f"{asked} With {probe.protocol.name} it usually is in the header {absent[0]}:"
    value = probe.site.own_headers.get("authorization", "")
    if "authorization" in sent and " " not in value:
        return f'{asked} The value has no scheme: most servers want "Bearer ${{…}}".'
    return asked


def _not_found(probe: Probe) -> Iterator[Advice]:
    if "/v1/v1/" in probe.path or re.search(r"(/[\w-]+)\1(?=/)", probe.path):
        yield Advice(f"A part of the path is there twice: {probe.path}. Take it out of --host, or out of path.")
    yield from _other_paths(probe, f"There is nothing at {line(probe.path, 100)}.")


def _wrong_method(probe: Probe) -> Iterator[Advice]:
    allowed = probe.headers.get("allow", "")
    takes = f" It takes {line(allowed, 60)}." if allowed else ""
    page = " It may be a page, and not the endpoint." if re.fullmatch(r"\s*(GET|HEAD|OPTIONS|,|\s)+", allowed) else ""
    yield from _other_paths(probe, f"The path does not take {probe.site.request_format.method}.{takes}{page}")


def _other_paths(probe: Probe, says: str) -> Iterator[Advice]:
    """The paths of the other protocols, each with the lines that ask there."""
    names = ["openai_chat", "anthropic_messages", "plain_sse"]
    others = [name for name in names if name != probe.protocol.name]
    own = PROTOCOLS.get(probe.protocol.name)
    if own is not None and not probe.path.endswith(own.path):
        yield Advice(f"{says} {own.name} usually is at {own.path}:", lines.target(path=own.path))
        return
    if probe.target.request is not None or probe.protocol.name == "custom":
        yield Advice(
            f"{says} Write the endpoint's path, below the URL of --host:", lines.target(path="/…"), likely=False
        )
        return
    for name in others:
        usual = PROTOCOLS[name].path  # type: ignore[index]  # they are names of protocols
        yield Advice(f"{says} {name} would be at {usual}:", lines.target(protocol=name))
        says = "Or:"
    yield Advice("Or, if the endpoint has a path of its own:", lines.target(path="/…"), likely=False)


def _redirect(probe: Probe) -> Iterator[Advice]:
    location = line(probe.headers.get("location", ""), 200)
    to = urlsplit(location)
    if not location:
        yield Advice("The server redirects, and does not say where to.")
    elif to.scheme == "https" and probe.site.endpoint.tls is None:
        yield Advice(f"The server wants TLS. Redirects are not followed; call it with --host https://{to.netloc}.")
    elif to.netloc and to.netloc != probe.site.endpoint.authority:
        yield Advice(
            f"The server is elsewhere. Redirects are not followed, since they would carry your keys to another host. "
            f"Call it with --host {to.scheme}://{to.netloc}, if you trust it."
        )
    elif "login" in location.lower() or "signin" in location.lower():
        yield Advice(f"The server sends you to its login page ({location}): it wants a key or a cookie in the headers.")
    else:
        yield Advice("Redirects are not followed. Ask where it leads:", lines.target(path=to.path or "/"))


def _too_many(probe: Probe) -> Iterator[Advice]:
    after = probe.headers.get("retry-after")
    wait = f" It asks you to wait: retry-after {line(after, 40)}{' s' if after.isdecimal() else ''}." if after else ""
    yield Advice(
        f"The server limits the rate, or the quota of this key is used up.{wait} A load test would measure the limit: "
        "have it raised, or use several keys ([target.credentials])."
    )


def _too_large(_: Probe) -> Iterator[Advice]:
    yield Advice("The request is too large for the server, or for a proxy in front of it.")


def _wrong_type(probe: Probe) -> Iterator[Advice]:
    sent = probe.site.headers.get("content-type", "no content type")
    yield Advice(f"The server does not take {line(sent, 60)}. JSON is the default; a form is", _FORM, likely=False)


def _not_acceptable(_: Probe) -> Iterator[Advice]:
    yield Advice(
        "The server cannot send text/event-stream. Ask for what it can send, in headers:",
        lines.target(headers={"accept": "*/*"}),
    )


def _bad_request(_: Probe) -> Iterator[Advice]:
    yield Advice(
        "The server does not like the body above. Compare it with the server's documentation: `omit` takes keys out, "
        "[target.body] adds some, [target.request.body] replaces it: see docs/reference/requests.md."
    )


def _and(names: list[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


_FORM = '[target.request]\ncontent_type = "form"\n\n[target.request.body]\nquestion = "{prompt}"\n'
_BY_STATUS: dict[int, Callable[[Probe], Iterator[Advice]]] = {
    400: _bad_request,
    401: _unauthorized,
    403: _unauthorized,
    404: _not_found,
    405: _wrong_method,
    406: _not_acceptable,
    413: _too_large,
    415: _wrong_type,
    422: _bad_request,
    429: _too_many,
}
