"""The routes. Thin: a request is validated, planned, and handed to delivery.

The server keeps no conversation. It asks for a key where it was given one, and knows nobody by name.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.reference_server import delivery, exposition, model, playground
from streamgauge.reference_server.connection import CONNECTION, SEND, EventStream, WholeAnswer
from streamgauge.reference_server.dealing import Faults, Rule
from streamgauge.reference_server.delivery import Document, Manner, Source, Stream
from streamgauge.reference_server.dialects import Answer, Question
from streamgauge.reference_server.dialects.anthropic_messages import CountQuestion, MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.model import Failed, Shape
from streamgauge.reference_server.sessions import READERS, Reader, Session, Sessions, Unreachable
from streamgauge.reference_server.simulation import Simulation

if TYPE_CHECKING:
    from streamgauge.reference_server.upstream import Upstream  # the SDK is slow to import, and few servers need it

DIALECTS: dict[str, type[Question]] = {
    "/v1/messages": MessagesQuestion,
    "/v1/chat/completions": ChatQuestion,
    "/chat/stream": PlainQuestion,
}

_T = TypeVar("_T")

BODY_LIMIT = 1 << 20  # bytes
_PLACE = re.compile(r"(req_[0-9a-f]+):([0-9]{1,9})")  # an event's id
_READERS = {**model.SETTINGS, **delivery.SETTINGS}  # of what a header can say of its answer
_NO_SETTINGS = {"fault", "stream"}  # the other headers that begin with x-gauge-
_KEYLESS = {"/", "/healthz"}  # and the page's own files: they tell nothing and cost nothing


@dataclass(frozen=True, slots=True)
class Settings:
    shape: Shape
    manner: Manner
    faults: tuple[Rule, ...] = ()
    api_key: str = field(default="", repr=False)  # asked for where there is one
    upstream: "Upstream | None" = None  # answers in place of the simulated model


def create_app(settings: Settings, sessions: Sessions) -> ASGIApp:
    """The server as an ASGI application."""
    streams = sessions.streams
    app = FastAPI(
        title="streamgauge reference server",
        docs_url=None,  # these pages would load their scripts from elsewhere
        redoc_url=None,
        responses={"4XX": {"description": "Refused, with an error as the route's protocol has it"}},
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers=_REFUSALS,
    )
    simulation = Simulation(settings.shape)
    faults = Faults(settings.faults, settings.shape.seed, streams.counts.faults)

    async def ask(question: Question, request: Request, seconds: float) -> tuple[Source, Answer]:
        if settings.upstream is None:
            return simulation.ask(question, _settings(model.SETTINGS, _own(request)))
        asking = settings.upstream.ask(question, await _sent(request), request.headers)
        with streams.asking():
            return await _unless_gone(request, asking, seconds)

    async def answer(question: Question, request: Request) -> Response:
        own = _own(request)
        trouble = faults.meet(own.get("fault"), request.scope, streamed=question.stream)
        place = request.headers.get("last-event-id")
        if place and question.stream:
            return await _resumed(sessions, place, request.url.path)
        manner = _with(settings.manner, _settings(delivery.SETTINGS, own))
        resumable = question.stream and manner.resumable > 0
        refused = streams.refused() or (sessions.refused() if resumable else None)
        if refused:
            status = HTTPStatus.SERVICE_UNAVAILABLE if streams.draining else question.overloaded
            raise HTTPException(status, refused, {"retry-after": "1"})
        source, known = await ask(question, request, manner.deadline / 1e9)
        streams.counts.cache_read += known.cache_read
        streams.counts.cache_write += known.cache_write
        writer = question.writer(known)
        source = source if trouble is None else trouble.source(source)
        id = f"req_{known.id}"
        session = Session(id, request.url.path, writer, manner, sessions) if resumable else None
        stream = Stream(id, source, writer if question.stream else Document(writer), manner, session or streams)
        stream.client = own.get("stream")
        headers = {question.request_id_header: id}
        if session is not None:
            reader = Reader(session, 0)
            return EventStream(reader, partial(session.begin, stream, reader), headers)
        opening = partial(streams.open, stream)
        if question.stream:
            return EventStream(stream, opening, headers)
        return WholeAnswer(stream, opening, headers, lambda status, detail: _error(request, status, detail, {}))

    app.router.route_class = _QuestionRoute

    @app.post("/v1/messages")
    async def messages(question: MessagesQuestion, request: Request) -> Response:
        """Anthropic Messages."""
        return await answer(question, request)

    @app.post("/v1/chat/completions")
    async def chat_completions(question: ChatQuestion, request: Request) -> Response:
        """OpenAI chat completions."""
        return await answer(question, request)

    @app.post("/chat/stream")
    async def chat_stream(question: PlainQuestion, request: Request) -> Response:
        """Plain SSE; streams unless `"stream": false`."""
        return await answer(question, request)

    @app.post("/v1/messages/count_tokens")
    async def count_tokens(question: CountQuestion, request: Request) -> Response:
        """What a question would cost, without asking it."""
        if settings.upstream is None:
            tokens = model.count_tokens(question.ask().prompt)
        else:
            tokens = await settings.upstream.count(question, await _sent(request), request.headers)
        return JSONResponse({"input_tokens": tokens})

    app.router.route_class = APIRoute

    _add_accounts(app, sessions)
    playground.add_to(app)
    return _door(app, settings.api_key)


def _add_accounts(app: FastAPI, sessions: Sessions) -> None:
    """The routes that tell of answers, and stop them; with a Redis, those of all processes that share it."""
    streams = sessions.streams

    async def told(verb: str, id: str) -> dict[str, Any]:
        found = await sessions.ask(verb, id)
        if found is None:
            raise HTTPException(404, f"no stream called {id!r}, or it ended too long ago")
        return found

    @app.get("/streams/{id}")
    async def stream(id: str) -> dict[str, Any]:
        """What is known of an answer by the id in its response's request id header; for a while after its end, too."""
        return await told("report", id)

    @app.post("/streams/{id}/cancel")
    async def cancel(id: str) -> dict[str, Any]:
        """Stop generating an answer; its client is told in its stream. Of no effect on one that has ended."""
        return await told("cancel", id)

    @app.get("/streams/{id}/events")
    async def events(id: str, last_event_id: Annotated[str, Header()] = "") -> Response:
        """A resumable answer from its beginning, or from behind the event named, as `EventSource` asks for it."""
        if last_event_id and last_event_id.partition(":")[0] != id:
            raise HTTPException(400, f"the event {last_event_id!r} is not of this stream")
        return await _resumed(sessions, last_event_id or f"{id}:0", None)

    @app.get("/streams/{id}/audit")
    async def audit(id: str) -> dict[str, Any]:
        """Of a resumable answer: each event, when it was generated, and when a client was first given it."""
        return await told("audit", id)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(exposition.metrics(sessions), media_type=exposition.CONTENT_TYPE)

    @app.get("/healthz")
    async def healthz() -> dict[str, object]:
        """`active`: answers on their way, streaming or not. An answer that is no longer counted is in the truth log."""
        return {"status": "draining" if streams.draining else "ok", "active": len(streams.active)}


async def _resumed(sessions: Sessions, place: str, path: str | None) -> Response:
    """What came, and is still to come, after the event of this id, of an answer to a request to `path`; None: to any.

    Nothing, with the status that stops an `EventSource`, where nothing is missing. It meets no faults a second time.
    """
    found = _PLACE.fullmatch(place)
    log = await sessions.find(found[1]) if found else None
    if found is None or log is None or path not in {None, log.path}:
        fault = f"nothing is kept here of an answer {place.partition(':')[0]!r}: it was not resumable, or is long over"
        raise HTTPException(404, f"{fault}; ask anew, without an event's id")
    position = int(found[2])
    if position + 1 < log.first:
        raise HTTPException(410, f"what came after the event {place!r} is no longer kept; ask anew, without that id")
    if log.over and position >= log.last:
        return Response(status_code=204)
    if len(log.readers) >= READERS:
        raise HTTPException(503, f"{READERS} clients read this answer already; try again", {"retry-after": "1"})
    sessions.streams.counts.resumed += position > 0
    reader = Reader(log, position)
    return EventStream(reader, reader.open, {DIALECTS[log.path].request_id_header: log.id})


class _QuestionRoute(APIRoute):
    """Reads and validates the body in one go, in pydantic's core, whatever its header calls it, and calls its endpoint.

    FastAPI's own handler also resolves dependencies and opens a context for each, and comes after a router and a row of
    middlewares. A route that has a body and nothing else pays for that with more time than it takes to plan the answer,
    so `_door` comes here at once. What the two say of themselves is the same.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.handle_question

    async def handle_question(self, request: Request) -> Response:
        try:
            return await self._asked(request)
        except (HTTPException, RequestValidationError, PydanticCustomError, Failed, Unreachable) as fault:
            refuse = next(_REFUSALS[kind] for kind in type(fault).__mro__ if kind in _REFUSALS)
            return await refuse(request, fault)

    async def _asked(self, request: Request) -> Response:
        try:
            question = self.endpoint.__annotations__["question"].model_validate_json(await request.body())
        except ValidationError as fault:
            faults = fault.errors(include_url=False)
            raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in faults]) from None
        response: Response = await self.endpoint(question, request)
        return response


async def _sent(request: Request) -> dict[str, Any]:
    """The body as it came: with what our own types do not know of it."""
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except msgspec.DecodeError as fault:
        raise HTTPException(400, f"the body is not valid JSON: {fault}") from None


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """What `work` gives; it is given up when the client leaves, the server ends, or so much time passes (0: any)."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body has been read: what comes next is `http.disconnect`
    try:
        done, _ = await asyncio.wait({doing, leaving}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        raise HTTPException(503, "the server is going down", {"retry-after": "1"}) from None
    finally:
        leaving.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait([doing])
    if doing in done:
        return doing.result()
    if leaving in done:
        raise HTTPException(499, "the client has gone")  # which nobody reads
    raise HTTPException(504, f"the answer had not begun within {seconds:g} s")


def _door(app: FastAPI, api_key: str) -> ASGIApp:
    """Outermost: asks for the key, bounds the body, and keeps the server's own `send` for delivery.

    Questions go from here to their handlers by the shortest way, all else through the whole of `app`.
    """
    questions = {route.path: route.handle_question for route in app.routes if isinstance(route, _QuestionRoute)}

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope[CONNECTION].ticker.catch_up()
        if api_key and not _open(scope["path"]) and not _knows(api_key, Headers(scope=scope)):
            fault = "this server wants its key, in `x-api-key` or as `Authorization: Bearer …`"
            await _error(Request(scope), 401, fault, {"www-authenticate": "Bearer"})(scope, receive, send)
            return
        if scope["method"] != "GET" and (b"sec-fetch-site", b"cross-site") in scope["headers"]:
            # A page from elsewhere, in the browser of somebody who runs this: it must not spend an upstream's money.
            await _error(Request(scope), 403, "a page of another site may not ask here", {})(scope, receive, send)
            return
        scope[SEND] = send
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_LIMIT:
                # The rest of the body is not read, so the connection cannot be used again.
                raise HTTPException(413, f"the body is larger than {BODY_LIMIT} bytes", {"connection": "close"})
            return message

        handle = questions.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            if handle is None:
                await app(scope, bounded, send)
            else:
                response = await handle(Request(scope, bounded))
                await response(scope, bounded, send)
        finally:
            # These hold the scope: a circle for every request that only the collector could free.
            del scope[SEND], scope[CONNECTION]

    return door


def _open(path: str) -> bool:
    return path in _KEYLESS or path.startswith("/static/")


def _knows(api_key: str, headers: Headers) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token if scheme.lower() == "bearer" else ""
    # Compared in constant time, so that a stranger cannot find the key letter by letter.
    said = (headers.get("x-api-key", "").encode("latin-1"), bearer.encode("latin-1"))
    return any(hmac.compare_digest(api_key.encode(), key) for key in said)


def _own(request: Request) -> dict[str, str]:
    """What the headers say that begin with `x-gauge-`, by the rest of their names."""
    return {
        name.removeprefix(b"x-gauge-").decode("latin-1"): text.decode("latin-1")
        for name, text in request.scope["headers"]
        if name.startswith(b"x-gauge-")
    }


def _settings(readers: Mapping[str, Callable[[str], Any]], own: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the request's own headers have, by the names of their fields. HTTPException for nonsense."""
    settings = {}
    for name, text in own.items():
        if name in _NO_SETTINGS:
            continue
        header = f"x-gauge-{name}"
        if name not in _READERS:
            known = sorted((_READERS.keys() | _NO_SETTINGS) - model.SERVER_WIDE)
            raise HTTPException(400, f"header {header}: there is no such setting; there are {', '.join(known)}")
        if name not in readers:
            continue
        if name in model.SERVER_WIDE:
            raise HTTPException(400, f"header {header}: all requests share this; set it when the server starts")
        try:
            settings[name.replace("-", "_")] = readers[name](text)
        except ValueError as fault:
            raise HTTPException(400, f"header {header}: {fault}") from None
    return settings


def _with(manner: Manner, given: Mapping[str, Any]) -> Manner:
    return replace(manner, **given) if given else manner  # which is most requests, and a copy would take its time


async def _bad_request(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    if first["type"] == "json_invalid":
        return _error(request, 400, f"the body is not valid JSON: {first['ctx']['error']}", {})
    place = ".".join(str(part) for part in first["loc"][1:])
    return _error(request, 400, f"{place}: {first['msg']}" if place else str(first["msg"]), {})


async def _unanswerable(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, PydanticCustomError)
    return _error(request, 400, fault.message(), {})


async def _failed(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Failed)
    status = _dialect(request).overloaded if fault.status == 529 else fault.status  # which not every dialect knows
    return _error(request, status, str(fault), fault.headers)


async def _unreachable(request: Request, fault: Exception) -> Response:
    return _error(request, 503, str(fault), {"retry-after": "1"})


async def _refusal(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _error(request, fault.status_code, fault.detail, fault.headers or {})


_REFUSALS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: _refusal,
    RequestValidationError: _bad_request,
    PydanticCustomError: _unanswerable,
    Failed: _failed,
    Unreachable: _unreachable,
}


def _error(request: Request, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """An error as the request's dialect has it; where no dialect is at home, as the plain one has it."""
    dialect = _dialect(request)
    request_id = f"req_{secrets.token_hex(12)}"
    return JSONResponse(
        dialect.error(status, message or HTTPStatus(status).phrase, request_id),
        status,
        {dialect.request_id_header: request_id, **headers},
    )


def _dialect(request: Request) -> type[Question]:
    path = request.url.path
    return next((dialect for home, dialect in DIALECTS.items() if path.startswith(home)), PlainQuestion)
