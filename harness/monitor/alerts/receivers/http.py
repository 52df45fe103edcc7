"""One request, limited in time and size. Redirects are not followed: they would take secrets to another host."""

import asyncio
import email.utils
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import httpx

from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.alerts.receivers.attempt import Failed, Refused

_MOST_READ = 2_000  # bytes of an answer: only its reason is shown
_LONGEST_PAUSE = 3_600.0  # seconds that a receiver can ask us to wait
# The same request would be refused again. All other errors may go away: a new key, a channel that is opened again.
_FINAL = {400, 413, 414, 415, 422, 431}


class Request(NamedTuple):
    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    verify: bool = True  # the TLS certificate


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, verify: bool = True) -> None:
    """Returns if the receiver answered 2xx; Refused or Failed otherwise. `seconds` limits everything together."""
    asyncio.run(_ask(Request("POST", url, body, {"content-type": "application/json", **headers}, verify), seconds))


def get(url: str, *, seconds: float) -> None:
    """As `post`."""
    asyncio.run(_ask(Request("GET", url), seconds))


async def _ask(request: Request, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            answer, reason = await _answer(request)
    except TimeoutError:
        raise Failed(f"no answer within {seconds:g} s", may_have_arrived=True) from None
    except httpx.ConnectError as fault:
        raise Failed(f"not reached: {fault}") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError):
        raise Failed("the URL or a header cannot be sent; correct the config") from None
    except (httpx.HTTPError, OSError):  # a message could quote the server
        raise Failed("the connection broke before the answer was complete", may_have_arrived=True) from None
    if answer.is_success:
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
        return answer, "" if answer.is_success else await _beginning(answer)


async def _beginning(answer: httpx.Response) -> str:
    """The first words of an answer's body, on one line."""
    read = bytearray()
    async for piece in answer.aiter_raw():
        read += piece
        if len(read) >= _MOST_READ:
            break
    text = " ".join(read[:_MOST_READ].decode("utf-8", "replace").split())
    return shortened(visible(text), 200)


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
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = date.timestamp() - time.time()
    return min(max(seconds, 0.0), _LONGEST_PAUSE)
