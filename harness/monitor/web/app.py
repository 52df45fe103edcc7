"""What the monitor's pages answer. Only GET; nothing that a request says changes anything."""

import base64
import binascii
import hmac
import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from streamgauge.harness.errors import StoreError
from streamgauge.harness.monitor.exposition import page
from streamgauge.harness.monitor.exposition.page import Page
from streamgauge.harness.monitor.health import health
from streamgauge.harness.monitor.status import Reader, Status

_FRESH = 5.0  # seconds for which a status that was read is shown again
_LOCAL = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


class Served(NamedTuple):
    """What the pages are made of."""

    reader: Reader
    page: Page
    render: Callable[[Status], str]
    every: float  # seconds between two probes of a target
    token: str | None


def app(served: Served) -> Starlette:
    cached = _Cached(served.reader)
    began = time.monotonic()

    def status(_: Request) -> Response:
        return HTMLResponse(served.render(cached.status()))

    def incident(request: Request) -> Response:
        number: str = request.path_params["number"]  # compared as text: int() raises for thousands of digits
        found = cached.status()
        chosen = [
            each
            for each in found.incidents
            if number in map(str, (each.number, *(firing.number for firing in each.firings)))
        ]
        if not chosen:
            return PlainTextResponse("no such incident among the newest\n", 404)
        return HTMLResponse(served.render(found._replace(incidents=chosen)))

    def metrics(_: Request) -> Response:
        return Response(served.page.text(), media_type=page.CONTENT_TYPE)

    def healthz(_: Request) -> Response:
        found = health(time.time(), time.monotonic() - began, cached.status().watched_at, served.every)
        return JSONResponse(found.document, found.status)

    routes = [
        Route("/", status),
        Route("/incidents/{number}", incident),
        Route("/metrics", metrics),
        Route("/healthz", healthz),
    ]
    made = Starlette(routes=routes, exception_handlers={StoreError: _unreadable})
    made.add_middleware(BaseHTTPMiddleware, dispatch=_guard(served.token))
    return made


class _Cached:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._read_at = 0.0

    def status(self) -> Status:
        with self._lock:
            if self._status is None or time.monotonic() - self._read_at > _FRESH:
                self._status = self._reader.read()
                self._read_at = time.monotonic()
            return self._status


def _unreadable(_: Request, fault: Exception) -> Response:
    return PlainTextResponse(f"{fault}\n", 503)


Next = Callable[[Request], Awaitable[Response]]


def _guard(token: str | None) -> Callable[[Request, Next], Awaitable[Response]]:
    """Without a token, only this machine's names are answered: else a page of another site could read ours (DNS
    rebinding). /healthz needs no token: it tells nothing of the targets."""

    async def guarded(request: Request, answer: Next) -> Response:
        # The header itself: for a name that it does not like, such as one with a `_`, Starlette gives our own address.
        if token is None and not all(map(_LOCAL.fullmatch, request.headers.getlist("host"))):
            response: Response = PlainTextResponse("write this machine's name: 127.0.0.1 or localhost\n", 403)
        elif token is not None and request.url.path != "/healthz" and not _knows(token, request):
            challenge = {"www-authenticate": 'Basic realm="streamgauge", charset="UTF-8"'}
            response = PlainTextResponse("the token is the password, with any name; or: Bearer\n", 401, challenge)
        else:
            response = await answer(request)
        response.headers.update(_HEADERS)
        return response

    return guarded


def _knows(token: str, request: Request) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())
