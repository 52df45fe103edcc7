"""One request, limited in time and size. Redirects are not followed: they would take secrets to another host."""

import asyncio
import email.utils
import json
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import httpx

from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.alerts.receivers.attempt import LONGEST_PAUSE, Failed, Refused

_MOST_READ = 2_000  # bytes of an answer: only its reason is shown
_JSON = {"content-type": "application/json"}
# The same request would be refused again. All other errors may go away: a new key, a channel that is opened again.
_FINAL = {400, 413, 414, 415, 422, 431}


class Request(NamedTuple):
    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    verify: bool = True  # the TLS certificate
    confirmed: bool = False  # whether the body of a 2xx must confirm that the alert was taken


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, verify: bool = True) -> None:
    """Returns if the receiver answered 2xx; Refused or Failed otherwise. `seconds` limits everything together."""
    asyncio.run(_ask(Request("POST", url, body, {**_JSON, **headers}, verify), seconds))


def post_confirmed(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, verify: bool = True) -> None:
    """As `post`, to a receiver whose answers are known: a 2xx with another body comes from somebody else.

    Such as a proxy's login page, or a 200 with `"ok": false` from another of Slack's interfaces.
    """
    asyncio.run(_ask(Request("POST", url, body, {**_JSON, **headers}, verify, confirmed=True), seconds))


def get(url: str, *, seconds: float) -> None:
    """As `post`."""
    asyncio.run(_ask(Request("GET", url), seconds))


async def _ask(request: Request, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            answer, text = await _answer(request)
    except TimeoutError:
        raise Failed(f"no answer within {seconds:g} s", may_have_arrived=True) from None
    except httpx.ConnectError as fault:
        raise Failed(f"not reached: {fault}") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError):
        raise Failed("the URL or a header cannot be sent; correct the config") from None
    except (httpx.HTTPError, OSError):  # a message could quote the server
        raise Failed("the connection broke before the answer was complete", may_have_arrived=True) from None
    reason = shortened(visible(text), 200)
    if answer.is_success:
        if request.confirmed and not _confirms(text):
            raise Failed(
                f"HTTP {answer.status_code}, but not as this kind of receiver answers; check the URL: {reason}"
            )
        return
    if answer.has_redirect_location or answer.is_redirect:
        raise Failed(f"HTTP {answer.status_code}: redirects are not followed; write the new URL into the config")
    said = f"HTTP {answer.status_code}{f': {reason}' if reason else ''}"
    if answer.status_code in _FINAL:
        raise Refused(said)
    raise Failed(said, pause=_pause(answer.headers.get("retry-after")))


async def _answer(request: Request) -> tuple[httpx.Response, str]:
    """The answer, and the beginning of its text."""
    sent = {"accept-encoding": "identity", "user-agent": "streamgauge", **request.headers}
    context = _context(request.verify)
    async with (
        httpx.AsyncClient(verify=context, timeout=None, trust_env=False) as client,  # noqa: S113 - limited as a whole
        client.stream(request.method, request.url, content=request.body, headers=sent) as answer,
    ):
        return answer, "" if answer.is_success and not request.confirmed else await _beginning(answer)


def _confirms(said: str) -> bool:
    """Whether it says `ok`, as Slack does, nothing, as Alertmanager does, or JSON that tells of no error."""
    if said in {"", "ok"}:
        return True
    try:
        document = json.loads(said)
    except ValueError:
        return False
    return isinstance(document, dict) and not (
        document.get("error") or False in (document.get("ok"), document.get("success"))
    )


async def _beginning(answer: httpx.Response) -> str:
    """The first words of an answer's body, on one line, as the receiver wrote them."""
    read = bytearray()
    async for piece in answer.aiter_raw():
        read += piece
        if len(read) >= _MOST_READ:
            break
    return " ".join(read[:_MOST_READ].decode("utf-8", "replace").split())


@cache
def _context(verify: bool) -> ssl.SSLContext:
    """Reading the certificates of the authorities takes longer than a request to a neighbour."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pause(retry_after: str | None) -> float | None:
    """Seconds, from a number or a date; None if there is neither."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*[0-9.]+\s*", retry_after):
        with suppress(ValueError):
            return min(float(retry_after), LONGEST_PAUSE)
    try:
        seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)
