"""What to change if the server refused the request, by its HTTP status and its words. Pure."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.complaints import of_words
from streamgauge.harness.probe.keys import about_keys, of_keys

_WEBSOCKET = re.compile("websocket", re.IGNORECASE)
_WITH_TLS = re.compile(r"https? request to an https|plain http request was sent to https", re.IGNORECASE)


def of_refusal(probe: Probe) -> Iterator[Advice]:
    """What would help, the most likely first."""
    assert probe.status is not None
    if _WITH_TLS.search(probe.words):
        yield Advice("The port speaks TLS: write https:// in the URL.")
        return
    if probe.status == 426 or (probe.status < 500 and _WEBSOCKET.search(probe.words)):
        yield Advice(
            "The endpoint wants a WebSocket, and streamgauge asks by HTTP only: is there a path that streams by HTTP?"
        )
        return
    told = list(of_words(probe))
    yield from told
    if told and probe.status not in {401, 403}:
        return
    advise = of_keys if about_keys(probe) and probe.status < 500 else _BY_STATUS.get(probe.status)
    if advise is not None:
        yield from advise(probe)
    elif 300 <= probe.status < 400:
        yield from _redirect(probe)
    elif probe.status >= 500:
        yield Advice(
            "The server failed, or a proxy in front of it: look at its log. Some servers fail so if the question's "
            "body is not what they expect: [target.request.body] replaces it, see docs/reference/requests.md."
            if probe.status == 500
            else "The server failed, or a proxy in front of it. Nothing in the config helps; look at the server's log."
        )
    else:
        yield Advice("The server refuses the request; its words are all that is known of the reason.")


def _not_found(probe: Probe) -> Iterator[Advice]:
    if "/v1/v1/" in probe.path or re.search(r"(/[\w-]+)\1(?=/)", probe.path):
        yield Advice(f"A part of the path is there twice: {probe.path}. Take it out of the URL, or out of path.")
        return
    yield from _other_paths(probe, f"There is nothing at {line(probe.path, 100)}.")


def _wrong_method(probe: Probe) -> Iterator[Advice]:
    allowed = probe.headers.get("allow", "")
    takes = f" It takes {line(allowed, 60)}." if allowed else ""
    page = " It may be a page, and not the endpoint." if re.fullmatch(r"\s*(GET|HEAD|OPTIONS|,|\s)+", allowed) else ""
    if page and probe.target.path:  # written on purpose, so it is rather another request than another path
        yield Advice(f"The path does not take POST.{takes} If the question belongs into the URL:", _GET, likely=False)
        return
    yield from _other_paths(probe, f"The path does not take {probe.site.request_format.method}.{takes}{page}")


def _other_paths(probe: Probe, says: str) -> Iterator[Advice]:
    """The paths of the other protocols, each with the lines that ask there."""
    names = ["openai_chat", "anthropic_messages", "plain_sse"]
    others = [name for name in names if name != probe.protocol.name]
    own = lines.usual_path(probe.protocol.name, probe.target.model)
    if own is not None and not probe.path.endswith(own):
        yield Advice(f"{says} {probe.protocol.name} usually is at {own}:", lines.target(path=own))
        return
    if probe.target.request is not None or probe.protocol.name == "custom":
        yield Advice(f"{says} Write the endpoint's path, below the URL:", lines.target(path="/…"), likely=False)
        return
    origin, base = probe.site.endpoint.origin, probe.secret.blotted(probe.site.endpoint.base)
    for name in others:
        usual = f"{base}{PROTOCOLS[name].path}"  # type: ignore[index]  # they are names of protocols
        yield Advice(f"{says} {name} would be at {line(usual, 100)}:", lines.target(protocol=name))
        says = "Or:"
    more = ", ".join(name for name in PROTOCOLS if name not in {*names, probe.protocol.name})
    yield Advice(f"Or it speaks another protocol: {more}. `streamgauge init` asks in each.")
    if base:
        yield Advice(f"Or, if this is the endpoint's whole URL, divide it: {origin} and --path {line(base, 100)}")
    else:
        yield Advice("Or, if the endpoint has a path of its own:", lines.target(path="/…"), likely=False)


def _redirect(probe: Probe) -> Iterator[Advice]:
    location = line(probe.headers.get("location", ""), 200)
    try:
        to = urlsplit(location)
    except ValueError:
        yield Advice(f"The server redirects to what is no URL: {line(location, 100)}.")
        return
    if not location:
        yield Advice("The server redirects, and does not say where to.")
    elif to.scheme == "https" and probe.site.endpoint.tls is None:
        yield Advice(f"The server wants TLS. Redirects are not followed; ask https://{to.netloc}.")
    elif to.netloc and to.netloc != probe.site.endpoint.authority:
        yield Advice(
            f"The server is elsewhere. Redirects are not followed, since they would carry your keys to another host. "
            f"Ask {to.scheme}://{to.netloc}, if you trust it."
        )
    elif "login" in location.lower() or "signin" in location.lower():
        yield Advice(f"The server sends you to its login page ({location}): it wants a key or a cookie in the headers.")
    elif re.search(r"[{}]", to.path):  # in a config they would stand for a variable of the environment, or a place
        yield Advice(f"Redirects are not followed. It leads to {line(to.path, 100)}.")
    else:
        yield Advice("Redirects are not followed. Ask where it leads:", lines.target(path=to.path or "/"))


def too_many(probe: Probe) -> Iterator[Advice]:
    """The server limits the rate."""
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
        "The server does not like the question's body. Compare it with the server's documentation: `omit` takes keys "
        "out, [target.body] adds some, [target.request.body] replaces it: see docs/reference/requests.md."
    )


_GET = '[target.request]\nmethod = "GET"\nquery = { q = "{prompt}" }\n'
_FORM = '[target.request]\ncontent_type = "form"\n\n[target.request.body]\nquestion = "{prompt}"\n'
_BY_STATUS: dict[int, Callable[[Probe], Iterator[Advice]]] = {
    400: _bad_request,
    401: of_keys,
    403: of_keys,
    404: _not_found,
    405: _wrong_method,
    406: _not_acceptable,
    413: _too_large,
    415: _wrong_type,
    422: _bad_request,
    429: too_many,
}
