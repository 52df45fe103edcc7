"""Admission of requests: the API key, requests from other sites, body size, number of streams, and the shutdown."""

import contextlib
import hmac
import ipaddress
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.reference_server.delivery.connection import CONNECTION, SEND
from streamgauge.reference_server.delivery.incoming import BODY_LIMIT
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.refusals import error
from streamgauge.reference_server.settings import Settings

_KEYLESS = {"/", "/healthz"}  # and /static/: paths that need no key, since they reveal nothing and cost nothing

_HELD = "streamgauge.tokens"  # key of ours in the scope of a request

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Admission:
    """Decides whether one more stream is accepted: at most `most` at once, and none while the server shuts down.

    All together may have `most_tokens`, since each token of an answer is in memory from its beginning to its end.
    """

    def __init__(self, streams: Streams, most: int, most_tokens: int) -> None:
        self.draining = False
        self._most_tokens = most_tokens
        self._tokens = 0  # of the answers that are being sent, sent or not
        self._streams = streams
        self._most = most
        self._waiting = 0

    def refusal(self) -> str | None:
        """Why one more stream is refused now; None if it is accepted. Counts each refusal."""
        if not self.draining and len(self._streams.active) + self._waiting < self._most:
            return None
        self._streams.counts.refused += 1
        return "the server is shutting down" if self.draining else f"all {self._most} streams are in use; try again"

    def hold(self, tokens: int, scope: Scope) -> str | None:
        """Count the tokens of this request's answer until the request has ended. The reason if there is no room."""
        if self._tokens + tokens > self._most_tokens:
            self._streams.counts.refused += 1
            return (
                f"the answers that are being sent have {self._tokens} tokens, and this one {tokens}; "
                f"at most {self._most_tokens} are held at a time; try again"
            )
        self._tokens += tokens
        scope[_HELD] = tokens
        return None

    def let_go(self, scope: Scope) -> None:
        self._tokens -= scope.pop(_HELD, 0)

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


def guarded(app: ASGIApp, questions: Mapping[str, Handler], settings: Settings, admission: Admission) -> ASGIApp:
    """The outermost ASGI layer of the server. It also puts uvicorn's own `send` into the scope, for delivery.

    `questions` are POST handlers by path. They are called directly, because the router and the middlewares of `app`
    would take longer than writing the script of an answer. All other requests go through `app`.
    """
    is_own = _own_hosts(settings)

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope[CONNECTION].wheel.catch_up()
        refusal = _refusal(scope, settings.api_key, is_own)
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
        except ClientDisconnect:  # in the middle of its request
            pass
        finally:
            # Both refer to the scope. That would be a reference cycle for each request, which only the garbage
            # collector could free.
            del scope[SEND], scope[CONNECTION]
            admission.let_go(scope)

    return guard


def _own_hosts(settings: Settings) -> Callable[[bytes], bool]:
    """Whether a request's Host header means this server. Any does, unless the server listens on loopback only.

    A page whose name was made to resolve to 127.0.0.1 ("DNS rebinding") could read everything otherwise.
    """
    named = {settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}

    @lru_cache
    def is_own(header: bytes) -> bool:
        host = _hostname(header.decode("latin-1"))
        return host is not None and (_is_loopback(host) or host in named)

    return is_own if _is_loopback(settings.host) else lambda _: True


def _hostname(authority: str) -> str | None:
    """Host of `host:port`, in lower case; None if it is not one."""
    try:
        return urlsplit(f"//{authority}").hostname
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _refusal(scope: Scope, api_key: str, is_own: Callable[[bytes], bool]) -> Response | None:
    host = next((value for name, value in scope["headers"] if name == b"host"), None)
    if host is not None and not is_own(host):
        message = "this server listens on loopback and is not called by that Host; --allow-host NAME adds a name"
        return error(Request(scope), 421, message, {})
    if scope[CONNECTION].overloaded:
        return error(
            Request(scope),
            503,
            "the server holds too much that clients have sent in part, or do not read; try again",
            {"retry-after": "1"},
        )
    if api_key and not _is_open(scope["path"]) and not _has_key(api_key, Headers(scope=scope)):
        message = "this server requires its API key, in `x-api-key`, `x-goog-api-key` or as `Authorization: Bearer …`"
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
    given = (headers.get("x-api-key", ""), headers.get("x-goog-api-key", ""), bearer)
    return any(hmac.compare_digest(api_key.encode(), key.encode("latin-1")) for key in given)
