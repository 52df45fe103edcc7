"""Whether the endpoint can be reached, and what the connection is like. Pure."""

import re
from email.utils import parsedate
from urllib.parse import urlsplit

from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import fixes, named_in, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn
from streamgauge.harness.record.path_limits import whose

_DAYS = 14  # left of a certificate, below which it is time to renew it
_SLOW_LOOKUP = 500.0  # ms
REFUSES_FOR_NOW = {429, 503, 529}  # no answer, and no broken one: see `retry_after`
_GAVE_UP = {503, 504, 524}  # as Heroku's router, most proxies, and Cloudflare say it
_HTTP2 = "https://developer.mozilla.org/docs/Web/API/Server-sent_events/Using_server-sent_events"
_TLS = "https://ssl-config.mozilla.org/"
_SERVER_ERROR = "https://www.rfc-editor.org/rfc/rfc9110#section-15.6"
_REDIRECT = "https://www.rfc-editor.org/rfc/rfc9110#section-15.4"
_RETRY_AFTER = "https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3"
_EYEBALLS = "https://www.rfc-editor.org/rfc/rfc8305"
_KEEP_ALIVE = "https://www.rfc-editor.org/rfc/rfc9112#section-9.3"


def answers(evidence: Evidence) -> Result:
    first = evidence.first
    if first is None:
        return unknown(f"nothing was asked: {evidence.why_not('as_is')}")
    if first.status is None:
        return unknown(f"no HTTP answer: {first.detail}")
    if first.instead == "a web page":
        return unknown(f"HTTP {first.status} with a web page, and not an answer: {first.words}")
    if first.answered:
        return fine(f"HTTP {first.status}, {first.header('content-type') or 'without a content type'}")
    told = f"HTTP {first.status}: {first.words or 'no words'}"
    after = first.ms.get("headers", 0.0) / 1e3
    limit = whose(after) if first.status in _GAVE_UP else None
    if limit is not None:
        seen = evidence.products
        # Before the first byte, a limit of the whole answer looks like one of silence.
        symptom = "absolute" if who(seen, "absolute") and not who(seen, "idle") else "idle"
        lines = fixes(seen, symptom) if who(seen, symptom) else _of_suspects(limit)
        headline = f"The path gives up after {after:.0f} s: {who(seen, symptom) or limit}"
        return fail(f"{told}, after {after:.1f} s: the limit of {limit}", *lines, headline=headline)
    if first.status // 100 == 3 or first.status < 500 or first.status in REFUSES_FOR_NOW:
        return unknown(told)
    return fail(
        told, Fix("the server's log, and a proxy's", _SERVER_ERROR), headline=f"The server fails: HTTP {first.status}"
    )


def _of_suspects(limit: str) -> tuple[Fix, ...]:
    """The lines of the products that are known for this limit."""
    suspects = named_in(limit)
    symptoms = [symptom for symptom in ("idle", "absolute") if who(suspects, symptom)]
    return tuple(fix for symptom in symptoms or ["idle"] for fix in fixes(suspects, symptom))


def addresses(evidence: Evidence) -> Result:
    reach = evidence.reach
    if reach.fault:
        return unknown(f"{reach.host} has no address: {reach.fault}")
    if not reach.addresses:
        return unknown("the addresses were not looked at")
    open_, shut = ([each for each in reach.addresses if bool(each.why_not) is is_shut] for is_shut in (False, True))
    told = ", ".join(f"{each.family} {each.text}" for each in open_) or "none"
    lookup = "" if reach.lookup_ms is None else f"; the name took {reach.lookup_ms:,.0f} ms"
    if not open_:
        return unknown(f"no address takes a connection: {', '.join(f'{each.text} {each.why_not}' for each in shut)}")
    # Loopback's name has two addresses, and hardly a server listens on both.
    if shut and reach.host != "localhost":
        dead = ", ".join(f"{each.family} {each.text} ({each.why_not})" for each in shut)
        return warn(
            f"connections are taken at {told}, but not at {dead}",
            Fix("take the dead address out of the DNS, or let the server listen there", _EYEBALLS),
        )
    if reach.lookup_ms is not None and reach.lookup_ms > _SLOW_LOOKUP:
        return warn(f"{told}{lookup}", Fix("a nearer resolver, or a cache", _EYEBALLS))
    return fine(f"{told}{lookup}")


def tls(evidence: Evidence) -> Result:
    seen = evidence.reach.tls
    if evidence.url.startswith("http://"):
        return unknown("the URL is http://, without TLS")
    if seen is None:
        return unknown("no connection to look at")
    if seen.fault:
        return unknown(f"no TLS: {seen.fault}")
    if seen.distrust:
        says = f"the certificate is not trusted here: {seen.distrust}"
        if evidence.first is not None and evidence.first.status is not None:  # verify = false in the config
            return warn(f"{says}; the config says verify = false", Fix("a certificate that clients trust", _TLS))
        return fail(
            says,
            Fix("a certificate that clients trust, with its whole chain", _TLS),
            headline=f"Clients do not trust the certificate: {seen.distrust}",
        )
    left = "" if seen.days_left is None else f", {seen.days_left:,.0f} days left"
    told = f"{seen.version}, issued by {seen.issuer or 'an unnamed authority'}{left}"
    if seen.days_left is not None and seen.days_left < _DAYS:
        return warn(told, Fix("renew the certificate, or repair what renews it", _TLS))
    return fine(told)


def http2(evidence: Evidence) -> Result:
    seen = evidence.reach.tls
    if seen is None or not seen.version:
        return unknown("HTTP/2 is agreed on in TLS's handshake, and there was none")
    if seen.protocols == "h2":
        return fine("HTTP/2 is offered (ALPN h2)")
    return warn(
        f"ALPN chose {seen.protocols or 'nothing'}: only HTTP/1.1", Fix("HTTP/2 at the edge: nginx: http2 on;", _HTTP2)
    )


def redirect(evidence: Evidence) -> Result:
    first = evidence.seen.get("redirect") or evidence.first
    if first is None or first.status is None:
        return unknown("there was no answer")
    if first.status // 100 != 3:
        return fine("no redirect")
    to = first.headers.get("location", "nowhere")
    fix = Fix(f"give clients the last URL: {to}", _REDIRECT)
    if first.status in {307, 308}:
        here = (to.startswith("/") and not to.startswith("//")) or to.startswith(f"{_origin(evidence.url)}/")
        told = f"HTTP {first.status} to {to}: a round trip more"
        return warn(told if here else f"{told}, and browsers drop `authorization` for another origin", fix)
    return fail(
        f"HTTP {first.status} to {to}: clients ask there by GET, without the body",
        fix,
        headline=f"A redirect ({first.status}) drops the question: clients follow it by GET",
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def kept(evidence: Evidence) -> Result:
    first, warm = evidence.first, evidence.seen.get("warm")
    if first is None or warm is None or not first.answered:
        return unknown(evidence.why_not("warm"))
    if warm.status is None:
        return warn(
            f"the second question on the connection got no answer: {warm.detail}",
            Fix("a server's keep-alive timeout longer than the balancer's", _KEEP_ALIVE),
        )
    if warm.reused:
        return fine("the second question used the first one's connection")
    if not first.complete or not first.completed:
        return unknown("the first answer did not end as it should, so its connection could not be kept")
    why = "it says `connection: close`" if "close" in first.header("connection") else "the server closed it"
    return warn(
        f"the connection was not kept after an answer: {why}",
        Fix("keep connections: each new one costs two or three round trips of TTFT", _KEEP_ALIVE),
    )


def retry_after(evidence: Evidence) -> Result:
    refusals = [seen for seen in evidence.seen.values() if seen.status in REFUSES_FOR_NOW]
    if not refusals:
        return unknown("no question was refused for its rate or for overload")
    lacking = [seen for seen in refusals if not seen.header("retry-after")]
    if lacking:
        return warn(f"HTTP {lacking[0].status} without `retry-after`", Fix("retry-after: 1", _RETRY_AFTER))
    told = [seen.headers["retry-after"] for seen in refusals]
    if odd := [each for each in told if not _is_time(each)]:
        return warn(f"`retry-after: {odd[0]}` is neither seconds nor a date", Fix("retry-after: 1", _RETRY_AFTER))
    return fine(f"HTTP {refusals[0].status} with `retry-after: {told[0]}`")


def _is_time(text: str) -> bool:
    """Whether it is seconds or a date, as RFC 9110 has it."""
    return bool(re.fullmatch(r"[0-9]{1,9}", text.strip())) or parsedate(text) is not None
