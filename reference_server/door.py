"""Admission of requests: the API key, requests from other sites, body size, number of streams, and the shutdown."""

import contextlib
import hmac
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.reference_server.delivery.connection import CONNECTION, SEND
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.refusals import error

BODY_LIMIT = 1 << 20  # bytes
_KEYLESS = {"/", "/healthz"}  # and /static/: paths that need no key, since they reveal nothing and cost nothing

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Admission:
    """Decides whether one more stream is accepted: at most `most` at once, and none while the server shuts down."""

    def __init__(self, streams: Streams, most: int) -> None:
        self.draining = False
        self._streams = streams
        self._most = most
        self._waiting = 0

    def refusal(self) -> str | None:
        """Why one more stream is refused now; None if it is accepted. Counts each refusal."""
        if not self.draining and len(self._streams.active) + self._waiting < self._most:
            return None
        self._streams.counts.refused += 1
        return "the server is shutting down" if self.draining else f"all {self._most} streams are in use; try again"

    @contextlib.contextmanager
    def waiting_for_upstream(self) -> Iterator[None]:
        """Count a question like a stream while the upstream has not begun to answer it."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def drain(self, seconds: float) -> None:
        """Take no more streams, let the active ones finish for this long, and then stop the others."""
        self.draining = True
        await self._streams.finish(seconds)


def guarded(app: ASGIApp, questions: Mapping[str, Handler], api_key: str) -> ASGIApp:
    """The outermost ASGI layer of the server. It also puts uvicorn's own `send` into the scope, for delivery.

    `questions` are POST handlers by path. They are called directly, because the router and the middlewares of `app`
    would take longer than writing the script of an answer. All other requests go through `app`.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope[CONNECTION].wheel.catch_up()
        refusal = _refusal(scope, api_key)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope[SEND] = send
        receive = _limited(receive)
        handle = questions.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            if handle is None:
                await app(scope, receive, send)
            else:
                response = await handle(Request(scope, receive))
                await response(scope, receive, send)
        finally:
            # Both refer to the scope. That would be a reference cycle for each request, which only the garbage
            # collector could free.
            del scope[SEND], scope[CONNECTION]

    return guard


def _refusal(scope: Scope, api_key: str) -> Response | None:
    if api_key and not _is_open(scope["path"]) and not _has_key(api_key, Headers(scope=scope)):
        message = "this server requires its API key, in `x-api-key` or as `Authorization: Bearer …`"
        return error(Request(scope), 401, message, {"www-authenticate": "Bearer"})
    if scope["method"] != "GET" and (b"sec-fetch-site", b"cross-site") in scope["headers"]:
        # A page of another site, in the browser of someone who runs this server, could spend the upstream's money.
        return error(Request(scope), 403, "pages of other sites may not send requests to this server", {})
    return None


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_LIMIT:
            # The rest of the body is not read, so the connection cannot be used again.
            raise HTTPException(413, f"the body is larger than {BODY_LIMIT} bytes", {"connection": "close"})
        return message

    return limited


def _is_open(path: str) -> bool:
    return path in _KEYLESS or path.startswith("/static/")


def _has_key(api_key: str, headers: Headers) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token if scheme.lower() == "bearer" else ""
    # Compare in constant time: otherwise response times would reveal the key letter by letter.
    given = (headers.get("x-api-key", "").encode("latin-1"), bearer.encode("latin-1"))
    return any(hmac.compare_digest(api_key.encode(), key) for key in given)
