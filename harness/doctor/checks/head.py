"""What the head of the answer says to browsers, caches and proxies. Pure."""

from streamgauge.harness.doctor.evidence import ORIGIN, Evidence
from streamgauge.harness.doctor.products import fixes, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn

_SSE = "https://html.spec.whatwg.org/multipage/server-sent-events.html"
_CACHING = "https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2"
_ACCEL = "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"
_LENGTH = "https://www.rfc-editor.org/rfc/rfc9112#section-6"
_CORS = "https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS"
_NOT_BY_ASTERISK = "authorization"  # https://fetch.spec.whatwg.org/#cors-non-wildcard-request-header-name
_ALWAYS_ALLOWED = {"accept", "accept-language", "content-language", "accept-encoding", "user-agent"}
_OFTEN = "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"
_KINDS = {
    "sse": ("text/event-stream",),
    "ndjson": (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/json-lines",
        "application/stream+json",
    ),
}
TELL_LENGTH = {"AWS API Gateway", "AWS Lambda", "Varnish"}  # these wait for the whole answer; others only buffer it
_LONG = 10_000.0  # ms to the first content; proxies' limits for the first byte begin at 25 s
_WITH_IT = 50.0  # ms between the head and the first content, if the head came with it


def content_type(evidence: Evidence) -> Result:
    first = evidence.stream
    if first is None:
        return unknown(evidence.no_stream)
    expected = _KINDS.get(evidence.framing, ())
    told = first.headers.get("content-type", "")
    fix = Fix(f"content-type: {expected[0] if expected else 'text/event-stream'}", _SSE)
    if not told:
        return fail("the answer has no content type", fix, headline="The answer has no content type")
    charset = first.header("content-type").partition("charset=")[2].strip('"; ')
    if expected and first.kind not in expected:
        if evidence.framing == "ndjson":
            return warn(f"`{told}`, where lines of JSON are `{expected[0]}`", fix)
        return fail(
            f"`{told}`: a browser's EventSource refuses it, and proxies buffer and compress it",
            fix,
            headline=f"The stream is called {first.kind}, and not text/event-stream",
        )
    if charset and charset not in {"utf-8", "utf8"}:
        return warn(f"`{told}`: an event stream is always UTF-8", fix)
    return fine(f"`{told}`")


def caching(evidence: Evidence) -> Result:
    first = evidence.stream
    if first is None:
        return unknown(evidence.no_stream)
    told = first.header("cache-control")
    if "no-cache" in told or "no-store" in told:
        return fine(f"`cache-control: {told}`")
    says = f"`cache-control: {told}`" if told else "no `cache-control`"
    return warn(
        f"{says}: what is in between may keep or change the answer",
        Fix("cache-control: no-cache, no-transform", _CACHING),
    )


def accel(evidence: Evidence) -> Result:
    first = evidence.stream
    if first is None:
        return unknown(evidence.no_stream)
    told = first.header("x-accel-buffering")
    if told == "no":
        return fine("`x-accel-buffering: no`")
    if told == "yes":
        return warn(f"`x-accel-buffering: {told}` switches nginx's buffer on", Fix("x-accel-buffering: no", _ACCEL))
    if told:
        return unknown(f"`x-accel-buffering: {told}` means nothing to nginx, which knows yes and no")
    return unknown("not seen: the server does not send it, or an nginx in between has acted on it and removed it")


def length(evidence: Evidence) -> Result:
    first = evidence.stream
    if first is None:
        return unknown(evidence.no_stream)
    gatherers = [product for product in evidence.products if product.name in TELL_LENGTH]
    if told := first.header("content-length"):
        return fail(
            f"`content-length: {told}`: the whole answer was there before its first byte was sent",
            Fix("send the answer as it is generated, with `transfer-encoding: chunked`", _LENGTH),
            *(fixes(gatherers, "held") if gatherers else ()),
            headline="The server, or a proxy, sends the answer only when it knows its length",
        )
    if not first.header("transfer-encoding"):
        return warn(
            "neither a length nor chunks: only the close of the connection ends the answer, as in HTTP/1.0. A cut "
            "looks like an end, and the connection cannot be used again",
            Fix("nginx: proxy_http_version 1.1; and HTTP/1.1 in the server", _LENGTH),
        )
    return fine("`transfer-encoding: chunked`, without a length")


def compression(evidence: Evidence) -> Result:
    first, identity = evidence.stream, evidence.seen.get("identity")
    if first is None:
        return unknown(evidence.no_stream)
    lines = fixes(evidence.products, "compressed")
    headline = f"Compression gathers the chunks: {who(evidence.products, 'compressed') or 'a compressor on the way'}"
    asked_for_none = identity.header("content-encoding") if identity is not None and identity.answered else ""
    if asked_for_none not in {"", "identity"}:
        return fail(
            f"`content-encoding: {asked_for_none}`, although the request accepts only identity",
            *lines,
            headline="The stream is compressed for clients that did not ask for it",
        )
    told = first.header("content-encoding")
    if told in {"", "identity"}:
        return fine("not compressed")
    if not first.judged:
        return unknown(f"`content-encoding: {told}`; too few events to tell whether each is flushed")
    if not first.held:
        return fine(f"`content-encoding: {told}`, flushed at each event")
    if identity is not None and identity.judged and identity.spread_beside([first]):
        return fail(
            f"`content-encoding: {told}`, and the events came together; without it they came one by one",
            *lines,
            headline=headline,
        )
    return warn(f"`content-encoding: {told}`, and the events came together", *lines)


def first_byte(evidence: Evidence) -> Result:
    first = evidence.first
    head = None if first is None else first.ms.get("headers")
    if first is None or not first.answered or head is None or not first.moments:
        return unknown("there was no content to compare with")
    told = f"the head came after {head:,.0f} ms, the first content after {first.moments[0]:,.0f} ms"
    if first.moments[0] > _LONG and first.moments[0] - head < _WITH_IT:
        return warn(told, Fix("send the head and a comment (`: hello`) as soon as the question is accepted", _OFTEN))
    return fine(told)


def cors(evidence: Evidence) -> Result:
    preflight, first = evidence.seen.get("preflight"), evidence.first
    if preflight is None or preflight.status is None or first is None:
        return unknown(evidence.why_not("preflight") if preflight is None else preflight.detail)
    allowed = preflight.header("access-control-allow-origin")
    if not allowed:
        return unknown(
            f"HTTP {preflight.status} without `access-control-allow-origin`: pages of other origins cannot ask, "
            "which matters only if browsers ask directly"
        )
    if preflight.status // 100 != 2:
        return warn(
            f"the preflight is allowed and ends with HTTP {preflight.status}: browsers then refuse",
            Fix("answer OPTIONS with 204", _CORS),
        )
    if allowed not in {"*", ORIGIN}:
        return unknown(f"pages of {allowed} may ask, and no others: whether that is yours is not known here")
    return _headers_allowed(evidence, preflight.header("access-control-allow-headers"), allowed)


def _headers_allowed(evidence: Evidence, told: str, origin: str) -> Result:
    """Whether a page of an allowed origin may send the headers that the question needs."""
    allowed = {name.strip() for name in told.split(",")}
    asked = {"content-type", *evidence.headers} - _ALWAYS_ALLOWED
    lacking = sorted(name for name in asked - allowed if "*" not in allowed or name == _NOT_BY_ASTERISK)
    if lacking:
        why = f": `*` does not cover {_NOT_BY_ASTERISK}" if "*" in allowed else ""
        return warn(
            f"`access-control-allow-headers: {told}` lacks {', '.join(lacking)}{why}, so browsers send no question",
            Fix(f"access-control-allow-headers: {', '.join(sorted(asked))}", _CORS),
        )
    says = f"`access-control-allow-origin: {origin}` for a page of another origin"
    if _NOT_BY_ASTERISK in allowed or "*" not in allowed:
        return fine(says)
    return fine(f"{says}; but `access-control-allow-headers: *` does not cover {_NOT_BY_ASTERISK}, if a page sends it")
