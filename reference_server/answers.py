"""From a question to the response that carries its answer: faults, admission, the model, then delivery."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from streamgauge.reference_server.delivery.responses import EventStream, WholeAnswer
from streamgauge.reference_server.delivery.settings import DELIVERY_SETTINGS, NEVER
from streamgauge.reference_server.delivery.stream import Stream
from streamgauge.reference_server.delivery.whole import WholeWriter
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.door import Admission
from streamgauge.reference_server.faults.injector import FaultInjector
from streamgauge.reference_server.model.answer import AnswerStart, Source
from streamgauge.reference_server.model.input import count_tokens
from streamgauge.reference_server.model.settings import MODEL_SETTINGS
from streamgauge.reference_server.model.simulation import SimulatedModel
from streamgauge.reference_server.refusals import error
from streamgauge.reference_server.sessions.log import Subscriber
from streamgauge.reference_server.sessions.registry import Sessions
from streamgauge.reference_server.sessions.resume import resume
from streamgauge.reference_server.settings import Settings, gauge_headers, overrides

if TYPE_CHECKING:
    from streamgauge.reference_server.upstream.anthropic import Upstream  # the SDK is slow to import

_T = TypeVar("_T")


class Answers:
    """Answers questions: by the `upstream` if there is one, otherwise by the simulated model."""

    def __init__(
        self, settings: Settings, sessions: Sessions, admission: Admission, upstream: "Upstream | None"
    ) -> None:
        self._delivery = settings.delivery
        self._sessions = sessions
        self._streams = sessions.streams
        self._admission = admission
        self._upstream = upstream
        self._simulated = SimulatedModel(settings.model)
        self._faults = FaultInjector(settings.faults, settings.model.seed, sessions.streams.counts.faults)

    async def answer(self, question: Question, request: Request) -> Response:
        headers = gauge_headers(request.scope)
        framing = question.framing if question.stream else None
        faulty = self._faults.inject(headers.get("fault"), request.scope, framing)
        event_id = request.headers.get("last-event-id")
        if event_id and question.stream:
            return await resume(self._sessions, event_id, request.url.path)
        changed = overrides(DELIVERY_SETTINGS, headers)
        delivery = replace(self._delivery, **changed) if changed else self._delivery
        if not question.has_comments:
            delivery = replace(delivery, keep_alive=NEVER)
        resumable = question.stream and question.has_ids and delivery.resumable > 0
        self._admit(question, resumable=resumable)
        source, start = await self._ask(question, request, headers, delivery.deadline / 1e9)
        self._hold(question, source, request.scope, resumable=resumable)
        counts = self._streams.counts
        counts.cache_read += start.cache_read
        counts.cache_write += start.cache_write
        if faulty is not None:
            source = faulty.source(source)
        id, writer = f"req_{start.id}", question.writer(start)
        response_headers = {question.request_id_header: id}
        if framing == "ndjson":
            response_headers["content-type"] = "application/x-ndjson"
        if resumable:
            session = self._sessions.create(id, request.url.path, source, writer, delivery)
            session.stream.client = headers.get("stream")
            session.stream.background = question.in_background
            subscriber = Subscriber(session.log, 0)
            subscriber.ignores_disconnect = question.in_background
            return EventStream(subscriber, partial(self._sessions.begin, session, subscriber), response_headers)
        stream = Stream(id, source, writer if question.stream else WholeWriter(writer), delivery, self._streams)
        stream.client = headers.get("stream")
        stream.background = stream.ignores_disconnect = question.in_background
        if faulty is not None:
            stream.cancels = faulty.cancels
        begin = partial(self._streams.open, stream)
        if question.stream:
            return EventStream(stream, begin, response_headers)
        return WholeAnswer(stream, begin, response_headers, lambda status, text: error(request, status, text, {}))

    async def count_tokens(self, question: Question, request: Request) -> int:
        if self._upstream is None:
            return count_tokens(question.model_input().prompt)
        return await self._upstream.count(question, await _body(request), request.headers)

    def _admit(self, question: Question, *, resumable: bool) -> None:
        refusal = self._admission.refusal() or (self._sessions.refusal() if resumable else None)
        if refusal:
            status = HTTPStatus.SERVICE_UNAVAILABLE if self._admission.draining else question.overloaded
            raise HTTPException(status, refusal, {"retry-after": "1"})

    def _hold(self, question: Question, source: Source, scope: Scope, *, resumable: bool) -> None:
        refusal = self._admission.hold(source.planned, scope)
        refusal = refusal or (self._sessions.refusal(source.planned) if resumable else None)
        if refusal:
            raise HTTPException(question.overloaded, refusal, {"retry-after": "1"})

    async def _ask(
        self, question: Question, request: Request, headers: Mapping[str, str], seconds: float
    ) -> tuple[Source, AnswerStart]:
        if self._upstream is None:
            return self._simulated.answer(question.model_input(), overrides(MODEL_SETTINGS, headers))
        asking = self._upstream.ask(question, await _body(request), request.headers)
        with self._admission.waiting_for_upstream():
            return await _while_client_waits(request, asking, seconds)


async def _body(request: Request) -> dict[str, Any]:
    """The body as the client sent it, including fields that our own types do not have."""
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except msgspec.DecodeError as fault:
        raise HTTPException(400, f"the body is not valid JSON: {fault}") from None


async def _while_client_waits(request: Request, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """The result of `work`, unless the client leaves, the server shuts down or the time is up (0: no limit)."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body has been read: next comes `http.disconnect`
    try:
        done, _ = await asyncio.wait({doing, leaving}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        raise HTTPException(503, "the server is shutting down", {"retry-after": "1"}) from None
    finally:
        leaving.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait([doing])
    if doing in done:
        return doing.result()
    if leaving in done:
        raise HTTPException(499, "the client has left")  # never sent: the connection is closed
    raise HTTPException(504, f"the answer had not begun within {seconds:g} s")
