"""Each check of `doctor`, on what an endpoint may have answered: what it finds, and what it names."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.reach import Address, Reach, Tls
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.path_limits import KNOWN
from tests.support.examined import STEADY, STREAM, answer, evidence

FAIL, WARN, PASS, UNKNOWN = Status.FAIL, Status.WARN, Status.PASS, Status.UNKNOWN
HTTPS = "https://h/"
TOLD: dict[str, Any] = {"output_tokens": 40, "input_tokens": 9}
AT_ONCE = tuple(2_000 + number / 100 for number in range(40))
QUICK = tuple(1_000 + number for number in range(40))  # a thousand chunks a second, after a second
LATER = tuple(901 + 4 * number for number in range(40))  # when the server itself has sent all, five times as fast
QUICKER = tuple(1_000 + 2 * number for number in range(40))
BURSTS = tuple(100 + 250 * (number // 5) + number / 100 for number in range(40))  # five each, by a timer
COUNTS = {"active_before": 0, "generated_before": 0, "active_soon": 0, "generated_soon": 8, "active_late": 0,
          "generated_late": 8}  # fmt: skip
GOES_ON = COUNTS | {"active_soon": 1, "active_late": 1, "generated_soon": 55, "generated_late": 130, "active_quiet": 0,
                    "active_control": 0, "generated_quiet": 400, "generated_control": 400}  # fmt: skip
GZIP = STREAM | {"content-encoding": "gzip"}
CUT: dict[str, Any] = {"outcome": Outcome.TRUNCATED, "whole": False}
IN_FULL: dict[str, Any] = {"characters": 200}  # of an answer that nobody cancelled


class Case(NamedTuple):
    check: str
    status: Status
    says: str  # a part of the evidence, or of the headline
    seen: Evidence


def without(*names: str, **more: str) -> dict[str, str]:
    return {name: value for name, value in STREAM.items() if name not in names} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


def refused(status: int, after: float = 50, **headers: str) -> Evidence:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return evidence(answer((), status, named, Outcome.REFUSED, b"no", head=after))


def at(url: str, tls: Tls) -> Evidence:
    return evidence(answer(), Reach("h", tls=tls), url)


def addressed(*shut: str, host: str = "h", lookup: float | None = None) -> Evidence:
    each = [Address("IPv6", "::1", shut[0] if shut else ""), Address("IPv4", "127.0.0.1", shut[1] if shut[1:] else "")]
    return evidence(answer(), Reach(host, lookup_ms=lookup, addresses=tuple(each)))


def preflight(status: int = 204, sent: Sequence[str] = (), **headers: str) -> Evidence:
    """`sent`: the names of the config's headers."""
    shown = {f"access-control-allow-{name}": value for name, value in headers.items()}
    return evidence(answer(), preflight=answer((), status, shown), headers=frozenset(sent))


def growing(protocol: str, at: Sequence[float] = STEADY) -> Evidence:
    """An answer in which each chunk has the whole text so far."""
    seen = answer(at, **TOLD)
    events = [event._replace(text="word " * place) for place, event in enumerate(seen.events, 1)]
    return evidence(replace(seen, events=tuple(events)), protocol=protocol)


def called(status: int, body: bytes = b"{}") -> Seen:
    """The answer to a cancel that was sent after 200 ms."""
    outcome = (Outcome.COMPLETED if body else Outcome.EMPTY) if status < 300 else Outcome.REFUSED
    return answer((), status, {}, outcome, body, head=5, due=200)


ACCEPTED = called(200)


def cancelled(
    at: Sequence[float] = STEADY[:5], call: Seen = ACCEPTED, figures: dict[str, Any] = COUNTS, **more: Any
) -> Evidence:
    """Of an answer with content at these times, cancelled after 200 ms. `more`: as for `answer`, and evidence."""
    around = {name: more.pop(name) for name in ("warm", "light", "heavy", "stopped") if name in more}
    first = more.pop("first", answer(**IN_FULL))
    usual: dict[str, Any] = {"ended": max(221.0, at[-1]), "characters": 25, "stop_reason": "stop"}
    stream = answer(at, **usual | more)
    counts = {name.replace("_", "_cancel_"): value for name, value in figures.items()}
    return evidence(first, cancel=stream, cancel_call=call, figures=counts, **around)


REACH = [
    Case("answers", PASS, "HTTP 200, text/event-stream", evidence(answer())),
    Case("answers", FAIL, "The server fails: HTTP 500", refused(500)),
    Case("answers", FAIL, "The path gives up after 29 s: AWS API Gateway", refused(504, 29_100)),
    Case("answers", FAIL, "The path gives up after 60 s: nginx, proxy_read_timeout",
         refused(504, 60_010, server="nginx/1.27")),
    Case("answers", FAIL, "The path gives up after 121 s: Cloudflare, Proxy Read Timeout",
         refused(524, 120_900, server="cloudflare")),
    Case("answers", FAIL, "The path gives up after 30 s: Heroku, the router's timeout",
         refused(503, 30_020, via="1.1 vegur")),
    Case("answers", UNKNOWN, "HTTP 503", refused(503)),
    Case("answers", UNKNOWN, "HTTP 503", refused(503, 11_000)),
    Case("answers", UNKNOWN, "HTTP 401", refused(401)),
    Case("answers", UNKNOWN, "no HTTP answer", evidence(answer((), None, {}, Outcome.UNREACHABLE))),
    Case("redirect", PASS, "no redirect", evidence(answer())),
    Case("redirect", FAIL, "by GET", refused(302, location="/there")),
    Case("redirect", WARN, "/there", refused(308, location="/there")),
    Case("addresses", PASS, "IPv6 ::1, IPv4 127.0.0.1", addressed()),
    Case("addresses", PASS, "IPv4 127.0.0.1", addressed("refused", host="localhost")),
    Case("addresses", WARN, "but not at IPv6 ::1 (no answer)", addressed("no answer")),
    Case("addresses", WARN, "the name took 700 ms", addressed(lookup=700)),
    Case("addresses", UNKNOWN, "no address takes a connection", addressed("no answer", "refused")),
    Case("tls", PASS, "TLSv1.3, issued by CA, 60 days left", at(HTTPS, Tls("TLSv1.3", "h2", 60, "CA"))),
    Case("tls", WARN, "13 days left", at(HTTPS, Tls("TLSv1.3", "h2", 13, "CA"))),
    Case("tls", WARN, "verify = false", at(HTTPS, Tls("TLSv1.3", distrust="self-signed"))),
    Case("tls", FAIL, "do not trust the certificate: expired",
         evidence(answer((), None, {}), Reach("h", tls=Tls("TLSv1.3", distrust="expired")), HTTPS)),
    Case("tls", UNKNOWN, "without TLS", evidence(answer())),
    Case("http2", PASS, "ALPN h2", at(HTTPS, Tls("TLSv1.3", "h2"))),
    Case("http2", WARN, "ALPN chose http/1.1", at(HTTPS, Tls("TLSv1.3", "http/1.1"))),
    Case("kept_connection", PASS, "the first one's connection", evidence(answer(), warm=answer(fresh=False))),
    Case("kept_connection", WARN, "`connection: close`",
         evidence(answer(headers=STREAM | {"connection": "close"}), warm=answer())),
    Case("kept_connection", WARN, "the server closed it", evidence(answer(), warm=answer())),
    Case("kept_connection", WARN, "got no answer", evidence(answer(), warm=answer((), None, {}, Outcome.RESET))),
    Case("retry_after", PASS, "retry-after: 3", refused(429, retry_after="3")),
    Case("retry_after", WARN, "HTTP 429 without", refused(429)),
    Case("retry_after", UNKNOWN, "no question was refused", evidence(answer())),
]  # fmt: skip
HEAD = [
    Case("content_type", PASS, "`text/event-stream`", evidence(answer())),
    Case("content_type", FAIL, "no content type", evidence(answer(headers={}))),
    Case("content_type", FAIL, "The stream is called application/json",
         evidence(answer(headers=without(content_type="application/json")))),
    Case("content_type", WARN, "always UTF-8",
         evidence(answer(headers=without(content_type="text/event-stream; charset=latin-1")))),
    Case("content_type", WARN, "application/x-ndjson",
         evidence(answer(headers=without(content_type="text/plain")), protocol="ollama", framing="ndjson")),
    Case("cache_control", PASS, "no-cache", evidence(answer())),
    Case("cache_control", WARN, "no `cache-control`", evidence(answer(headers=without("cache-control")))),
    Case("cache_control", WARN, "max-age=60", evidence(answer(headers=without(cache_control="max-age=60")))),
    Case("x_accel_buffering", PASS, "no", evidence(answer())),
    Case("x_accel_buffering", WARN, "switches nginx's buffer on",
         evidence(answer(headers=without(x_accel_buffering="yes")))),
    Case("x_accel_buffering", UNKNOWN, "not seen", evidence(answer(headers=without("x-accel-buffering")))),
    Case("content_length", PASS, "chunked", evidence(answer())),
    Case("content_length", FAIL, "content-length: 900", evidence(answer(headers=without(content_length="900")))),
    Case("content_length", WARN, "HTTP/1.0", evidence(answer(headers=without("transfer-encoding")))),
    Case("compression", PASS, "not compressed", evidence(answer())),
    Case("compression", PASS, "flushed at each event", evidence(answer(headers=without(content_encoding="br")))),
    Case("compression", FAIL, "did not ask for it",
         evidence(answer(), identity=answer(headers=without(content_encoding="gzip")))),
    Case("compression", FAIL, "without it they came one by one",
         evidence(answer(AT_ONCE, headers=without(content_encoding="gzip")), identity=answer())),
    Case("compression", WARN, "the events came together",
         evidence(answer(AT_ONCE, headers=without(content_encoding="gzip")))),
    Case("compression", UNKNOWN, "too few events", evidence(answer((9, 9), headers=without(content_encoding="br")))),
    Case("first_byte", PASS, "the head came after 50 ms", evidence(answer())),
    Case("first_byte", WARN, "after 12,090 ms", evidence(answer([12_000 + ms for ms in STEADY], head=12_090))),
    Case("cors", PASS, "for a page of another origin", preflight(origin="*", headers="content-type")),
    Case("cors", WARN, "lacks content-type", preflight(origin="*", headers="authorization")),
    Case("cors", PASS, "`access-control-allow-headers: *` does not cover authorization, if a page sends it",
         preflight(origin="*", headers="*")),
    Case("cors", PASS, "for a page of another origin", preflight(204, ["authorization", "accept-encoding"], origin="*",
         headers="*, Authorization")),
    Case("cors", WARN, "lacks authorization: `*` does not cover authorization",
         preflight(204, ["authorization"], origin="*", headers="*")),
    Case("cors", WARN, "lacks x-api-key", preflight(204, ["x-api-key"], origin="*", headers="content-type, x-api")),
    Case("cors", WARN, "ends with HTTP 405", preflight(405, origin="*")),
    Case("cors", UNKNOWN, "pages of other origins cannot ask", preflight(405)),
]  # fmt: skip
ANSWER = [
    Case("end", PASS, "1 answer came to their end", evidence(answer())),
    Case("end", FAIL, "The answer has no terminal event", evidence(answer(outcome=Outcome.TRUNCATED))),
    Case("end", FAIL, "Answers are cut off after 30 s: gunicorn, --timeout",
         evidence(answer(range(100, 30_000, 500), headers=STREAM | {"server": "gunicorn"}, ended=30_200, **CUT))),
    Case("end", FAIL, "Answers are cut off after 15 s: an Envoy route",
         evidence(answer(range(100, 15_000, 500), ended=15_010, **CUT))),
    Case("end", FAIL, "Answers are cut off after 15 s without an event: nginx, proxy_read_timeout",
         evidence(answer(headers=STREAM | {"server": "nginx"}, ended=15_880, **CUT))),
    Case("end", FAIL, "Answers are cut off after 1 s: Envoy, the route's timeout",
         evidence(answer(headers=STREAM | {"server": "envoy"}, ended=890, **CUT), warm=answer(ended=1_000, **CUT))),
    Case("end", FAIL, "do not come to their end", evidence(answer(ended=890, **CUT))),
    Case("end", FAIL, "do not come to their end",
         evidence(answer(headers=STREAM | {"server": "envoy"}, ended=890, **CUT), warm=answer(ended=5_000, **CUT))),
    Case("end", FAIL, "An error ends the answer: overloaded",
         evidence(answer(outcome=Outcome.SERVER_ERROR, detail="overloaded"))),
    Case("end", WARN, "brought nothing", evidence(answer((), outcome=Outcome.EMPTY))),
    Case("sse", PASS, "each understood", evidence(answer())),
    Case("sse", FAIL, "is no UTF-8", evidence(answer(body=b"data: \xff\n\n"))),
    Case("sse", FAIL, "without a field's name", evidence(answer(body=b"{}\n\n"))),
    Case("sse", FAIL, "written twice", evidence(answer(body=b"data: data: 1\n\n"))),
    Case("sse", FAIL, "no blank line after it", evidence(answer(body=b"data: 1\n"))),
    Case("sse", FAIL, "cannot be read", evidence(answer(outcome=Outcome.MALFORMED, detail="no JSON"))),
    Case("sse", WARN, "an odd thing (2 times)", evidence(answer(oddities={"an odd thing": 2}))),
    Case("usage", PASS, "9 input and 40 output tokens", evidence(answer(**TOLD))),
    Case("usage", WARN, "told no tokens", evidence(answer())),
    Case("whole", PASS, "application/json",
         evidence(answer(), whole=answer((90,), headers={"content-type": "application/json"}))),
    Case("whole", WARN, "the server streamed it", evidence(answer(), whole=answer())),
    Case("whole", WARN, "HTTP 404", evidence(answer(), whole=answer((), 404, {}, Outcome.REFUSED))),
    Case("bad_request", PASS, "got HTTP 400",
         evidence(answer(), bad_request=answer((), 400, {"content-type": "application/json"}))),
    Case("bad_request", WARN, "got HTTP 500", evidence(answer(), bad_request=answer((), 500, {}))),
    Case("bad_request", WARN, "text/html",
         evidence(answer(), bad_request=answer((), 400, {"content-type": "text/html"}))),
    Case("bad_request", WARN, "broke the connection", evidence(answer(), bad_request=answer((), None, {}))),
    Case("stream_error", PASS, "told as one: busy",
         evidence(answer(), error=answer(outcome=Outcome.SERVER_ERROR, detail="busy"))),
    Case("stream_error", PASS, "told as one: busy", evidence(answer(outcome=Outcome.SERVER_ERROR, detail="busy"))),
    Case("stream_error", WARN, "could not be read", evidence(answer(), error=answer(**CUT))),
]  # fmt: skip
FLOW = [
    Case("streaming", PASS, "40 content events in 40 bursts", evidence(answer())),
    Case("streaming", FAIL, "all 40 content events came within", evidence(answer(AT_ONCE), warm=answer(AT_ONCE))),
    Case("streaming", FAIL, "by a timer", evidence(answer(BURSTS), warm=answer(BURSTS))),
    Case("streaming", FAIL, "A proxy holds the stream back: Caddy, flush_interval",
         evidence(answer(BURSTS, headers=STREAM | {"server": "Caddy"}), origin=answer())),
    Case("streaming", FAIL, "The server itself holds the stream back",
         evidence(answer(AT_ONCE), warm=answer(AT_ONCE), origin=answer(AT_ONCE))),
    Case("streaming", WARN, "who holds them is not known", evidence(answer(AT_ONCE))),
    Case("streaming", WARN, "came within 39 ms", evidence(answer(QUICK), warm=answer(QUICK))),
    Case("streaming", WARN, "came within 39 ms", evidence(answer(QUICK), warm=answer(QUICK), origin=answer(QUICKER))),
    Case("streaming", FAIL, "A proxy holds the stream back", evidence(answer(QUICK), origin=answer())),
    Case("streaming", FAIL, "or what compresses them",
         evidence(answer(QUICK, headers=GZIP), origin=answer())),
    Case("streaming", FAIL, "without compression they came one by one",
         evidence(answer(BURSTS, headers=GZIP), warm=answer(BURSTS, headers=GZIP), identity=answer())),
    Case("streaming", WARN, "who holds them is not known", evidence(answer(AT_ONCE), identity=answer())),
    Case("path", UNKNOWN, "held back", evidence(answer(QUICK), origin=answer())),
    Case("streaming", FAIL, "came within 156 ms, after 1,056 ms of silence; the server itself",
         evidence(answer(LATER), warm=answer(LATER), origin=answer())),
    Case("path", UNKNOWN, "held back", evidence(answer(LATER), origin=answer())),
    Case("streaming", PASS, "40 bursts", evidence(answer(LATER), warm=answer(LATER))),
    Case("streaming", PASS, "40 bursts",
         evidence(answer(LATER), origin=answer(LATER))),
    Case("streaming", PASS, "40 bursts",
         evidence(answer(LATER, saturated_reads=40, read_lag_max=300_000_000), origin=answer())),
    Case("streaming", PASS, "40 content events in 40 bursts", evidence(answer(AT_ONCE), warm=answer())),
    Case("streaming", UNKNOWN, "only 3 content events came", evidence(answer((1, 2, 3)))),
    Case("streaming", UNKNOWN, "a web page came, and no stream", evidence(answer((), body=b"<!doctype html>Hi"))),
    Case("streaming", UNKNOWN, "too late to tell",
         evidence(answer(AT_ONCE, saturated_reads=40, read_lag_max=300_000_000))),
    Case("path", PASS, "+0 ms against the server itself", evidence(answer(), origin=answer())),
    Case("path", WARN, "+1,000 ms against", evidence(answer([ms + 1_000 for ms in STEADY]), origin=answer())),
    Case("path", UNKNOWN, "held back", evidence(answer(AT_ONCE), origin=answer())),
    Case("chunks", PASS, "1.0 tokens", evidence(answer(**TOLD))),
    Case("chunks", FAIL, "Each chunk repeats all the text before it", growing("openai_chat")),
    Case("chunks", WARN, "repeats all the text before it", growing("custom")),
    Case("chunks", WARN, "each of 4 chunks repeats", growing("openai_chat", STEADY[:4])),
    Case("chunks", WARN, "4.0 tokens and 20.0 characters",
         evidence(answer(output_tokens=160, characters=800))),
    Case("writes", PASS, "came whole", evidence(answer(splits=[0.0] * 40))),
    Case("writes", FAIL, "Nagle", evidence(answer(splits=[40.1] * 40))),
    Case("writes", PASS, "came whole", evidence(answer(splits=[20.0] * 40))),
    Case("steady", PASS, "20 ms", evidence(answer())),
    Case("steady", WARN, "920 ms",
         evidence(answer([ms + 900 * (ms > 300) for ms in STEADY]),
                  warm=answer([ms + 900 * (ms > 400) for ms in STEADY]))),
    Case("silence", PASS, "2 signs of life", evidence(answer(pings=(5_000, 10_000)))),
    Case("silence", WARN, "nothing came for 16.0 s", evidence(answer([ms + 15_950 for ms in STEADY]))),
    Case("silence", UNKNOWN, "too short to need",
         evidence(answer(), slow_reader=answer([ms + 30_000 for ms in STEADY]))),
    Case("get", PASS, "as it does by POST", evidence(answer(), get=answer())),
    Case("get", WARN, "by POST one by one", evidence(answer(), get=answer(AT_ONCE))),
]  # fmt: skip
LIMITS = [
    Case("idle_limit", PASS, "60 s of silence ended nothing",
         evidence(answer(), silent=answer(ended=60_880, outcome=Outcome.CANCELLED))),
    Case("idle_limit", FAIL, "Silent streams are ended after 10 s: a timeout on the path",
         evidence(answer(), silent=answer(ended=10_880, **CUT))),
    Case("idle_limit", WARN, "ended after 50.0 s without an event: the limit of HAProxy",
         evidence(answer(), silent=answer(ended=50_880, **CUT))),
    Case("idle_limit", UNKNOWN, "the limit of the whole answer came first",
         evidence(answer(), silent=answer(ended=15_000, **CUT), ticking=answer(ended=15_010, **CUT))),
    Case("absolute_limit", PASS, "went on for 70 s",
         evidence(answer(), ticking=answer(ended=70_000, outcome=Outcome.CANCELLED))),
    Case("absolute_limit", FAIL, "Every answer is ended after 15 s: Envoy, the route's timeout",
         evidence(answer(headers=STREAM | {"server": "envoy"}), ticking=answer(ended=15_010, **CUT))),
    Case("absolute_limit", WARN, "the limit of Envoy, API Gateway or Vercel",
         evidence(answer(), ticking=answer(ended=300_100, **CUT))),
    Case("idle_connection", PASS, "for 20 s, as long as", evidence(
        answer(), origin=answer(), figures={"origin_idle_open": 20.0})),
    Case("idle_connection", PASS, "after 75 s", evidence(
        answer(), origin=answer(), figures={"origin_idle_open": 75.0, "origin_idle_closed": 75.0})),
    Case("idle_connection", WARN, "after 5 s", evidence(
        answer(), origin=answer(), figures={"origin_idle_open": 4.8, "origin_idle_closed": 5.0})),
]  # fmt: skip
STOPPED = answer([ms + 1_000 * (ms > 300) for ms in STEADY])
DISTURBED: dict[str, Any] = {"light": STOPPED, "heavy": answer([ms + 1_000 for ms in STEADY], due=300)}
PEOPLE = [
    Case("together", PASS, "while the first one ran", evidence(answer(), light=answer(), heavy=answer(due=300))),
    Case("together", FAIL, "Answers are given one at a time",
         evidence(answer(), light=answer(), heavy=answer(due=300, head=600), heavy_again=answer())),
    Case("together", UNKNOWN, "by chance, or because it waited",  # both, in a stop of the server
         evidence(answer(), light=STOPPED, heavy=answer([ms + 1_600 for ms in STEADY], due=300, head=1_590))),
    Case("together", UNKNOWN, "over before the second", evidence(answer(), light=answer(), heavy=answer(due=9_000))),
    Case("undisturbed", PASS, "20 ms while another", evidence(answer(), light=answer(), heavy=answer(due=300))),
    Case("undisturbed", WARN, "1,020 ms while another question began, 20 ms", evidence(answer(), **DISTURBED)),
    Case("undisturbed", WARN, "and 1,020 ms when both were asked again",
         evidence(answer(), **DISTURBED, light_again=STOPPED, heavy_beside_it=DISTURBED["heavy"])),
    Case("undisturbed", PASS, "1,020 ms while another question began, and 20 ms when",
         evidence(answer(), **DISTURBED, light_again=answer(), heavy_beside_it=answer(due=300))),
    Case("undisturbed", WARN, "20 ms otherwise", evidence(answer(), **DISTURBED, light_again=answer(STEADY[:3]))),
    Case("leaving", PASS, "generated 8 tokens until a second after",
         evidence(answer(), leave=answer(STEADY[:5], outcome=Outcome.CANCELLED), figures=COUNTS)),
    Case("leaving", FAIL, "goes on generating for people who have left",
         evidence(answer(), leave=answer(STEADY[:5], outcome=Outcome.CANCELLED), figures=GOES_ON)),
    Case("leaving", UNKNOWN, "perhaps for others",
         evidence(answer(), leave=answer(STEADY[:5], outcome=Outcome.CANCELLED),
                  figures=GOES_ON | {"generated_control": 900})),
    Case("leaving", UNKNOWN, "perhaps for others",
         evidence(answer(), leave=answer(STEADY[:5], outcome=Outcome.CANCELLED),
                  figures=GOES_ON | {"generated_soon": 8, "generated_late": 81})),
    Case("leaving", UNKNOWN, "works for others",
         evidence(answer(), leave=answer(STEADY[:5], outcome=Outcome.CANCELLED),
                  figures=COUNTS | {"active_before": 1})),
    Case("slow_reader", PASS, "got the whole answer in 5.0 s", evidence(answer(), slow_reader=answer(ended=5_000))),
    Case("slow_reader", WARN, "did not get the whole answer", evidence(answer(), slow_reader=answer(**CUT))),
    Case("resume", PASS, "20 events of 40 came: the rest", evidence(answer(), resume=answer(STEADY[20:]))),
    Case("resume", WARN, "a whole new answer came", evidence(answer(), resume=answer())),
    Case("resume", WARN, "HTTP 409 to", evidence(answer(), resume=answer((), 409, {}, Outcome.REFUSED))),
    Case("prompt_cache", PASS, "900 tokens came from the prompt cache",
         evidence(answer(), heavy=answer(), heavy_again=answer(cache_read_tokens=900))),
    Case("prompt_cache", UNKNOWN, "no tokens from", evidence(answer(), heavy=answer(), heavy_again=answer())),
]  # fmt: skip
CANCEL = [
    Case("cancel", PASS, "ended 20 ms after the cancel and after 5 content events (stop reason stop); the server",
         cancelled()),
    Case("cancel", FAIL, "35 content events came after it, the last one 6.9 s later",
         cancelled([100 + 200 * number for number in range(36)])),
    Case("cancel", FAIL, "A cancel ends the stream, and the server goes on generating", cancelled(figures=GOES_ON)),
    Case("cancel", PASS, "ended 20 ms after the cancel", cancelled(call=called(204, b""))),
    Case("cancel", WARN, "the stream stayed open", cancelled(ended=3_300, outcome=Outcome.TIMED_OUT)),
    Case("cancel", WARN, "the stream stayed open", cancelled(ended=5_300, outcome=Outcome.INTERRUPTED)),
    Case("cancel", WARN, "take this end for a broken connection", cancelled(**CUT)),
    Case("cancel", WARN, "got no answer within 5 s",
         cancelled(call=answer((), None, {}, Outcome.INTERRUPTED, ended=5_000, due=200))),
    Case("cancel", WARN, "got no answer (reset)",
         cancelled(call=answer((), None, {}, Outcome.RESET, due=200, detail="reset"))),
    Case("cancel", WARN, "HTTP 500 to the cancel", cancelled(call=called(500))),
    *(Case("cancel", UNKNOWN, f"HTTP {status} to the cancel", cancelled(call=called(status)))
      for status in (400, 401, 403, 404, 405, 429, 501, 503)),
    Case("cancel", UNKNOWN, "HTTP 301 to the cancel, to /there, where doctor does not go",
         cancelled(call=answer((), 301, {"location": "/there"}, Outcome.REFUSED, b"", head=5, due=200))),
    Case("cancel", UNKNOWN, "with a web page", cancelled(call=called(200, b"<!doctype html>Hello"))),
    Case("cancel", UNKNOWN, "could not be sent",
         cancelled(call=answer((), None, {}, Outcome.UNREACHABLE, due=200, detail="refused"))),
    Case("cancel", UNKNOWN, "it had 110 characters, others 200. A longer one", cancelled(characters=110)),
    Case("cancel", UNKNOWN, "it may have ended by itself: that is late", cancelled(ended=2_300)),
    Case("cancel", UNKNOWN, "have 60 to 200 characters", cancelled(warm=answer(characters=60))),
    Case("cancel", UNKNOWN, "over before it was cancelled", cancelled(ended=190)),
    Case("cancel", UNKNOWN, "no other answer was complete", cancelled(first=answer(**CUT))),
    Case("cancel", UNKNOWN, "also ends early when another question comes",
         cancelled(light=answer(STEADY[:5], characters=9), heavy=answer())),
    Case("cancel", UNKNOWN, "whether its generation stopped is not known: it was not asked", cancelled(figures={})),
    Case("cancel", UNKNOWN, "works for others, too", cancelled(figures=COUNTS | {"active_before": 1})),
    Case("cancel", UNKNOWN, "perhaps for others", cancelled(figures=GOES_ON | {"generated_control": 900})),
    Case("cancel", UNKNOWN, "at this answer's pace",
         cancelled((100, 4_100), ended=9_300, outcome=Outcome.INTERRUPTED)),
    Case("cancel", UNKNOWN, "was refused: no background", evidence(
        answer(), cancel=answer((), 400, {}, Outcome.REFUSED, detail="no background"))),
    Case("cancel", UNKNOWN, "stopped before it could tell", cancelled(stopped=True)),
    Case("cancel", UNKNOWN, "no way to cancel", evidence(answer(), untried={"cancel": "no way to cancel"})),
    Case("cancel", UNKNOWN, "the stream's `id`", evidence(
        answer(), cancel=answer(), untried={"cancel_call": "the stream's `id`"})),
]  # fmt: skip
CASES = [*CANCEL, *REACH, *HEAD, *ANSWER, *FLOW, *LIMITS, *PEOPLE]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.says}")
def test_a_check_finds_what_the_answers_show(case: Case) -> None:
    found = CHECKS[case.check].look(case.seen)
    assert (found.status, case.says in f"{found.headline} {found.says}") == (case.status, True), found
    assert found.status in {PASS, UNKNOWN} or found.fixes, "what is wrong comes with what to change"


def test_every_check_is_seen_to_pass_and_to_find_something() -> None:
    passed, found = ({case.check for case in CASES if case.status in statuses} for statuses in ({PASS}, {FAIL, WARN}))
    assert passed == {*CHECKS}
    assert {*CHECKS} - found == {"prompt_cache"}  # whether a server has one is no fault


@pytest.mark.parametrize("seconds", KNOWN)
def test_each_known_limit_of_a_path_is_named_when_a_silent_or_a_long_stream_is_cut_there(seconds: float) -> None:
    silent = answer(ended=880 + seconds * 1_000, **CUT)
    seen = evidence(answer(), silent=silent, ticking=answer(ended=seconds * 1_000, **CUT))
    assert KNOWN[seconds] in CHECKS["absolute_limit"].look(seen).says
    alone = evidence(answer(), silent=silent)
    assert KNOWN[seconds] in CHECKS["idle_limit"].look(alone).says


def test_no_two_known_limits_can_be_taken_for_each_other() -> None:
    assert all(after - before > 0.005 * (after + before) + 0.1 for before, after in pairwise(KNOWN))
