"""The routes. Thin: a request is validated, planned, and handed to delivery.

The server keeps no conversation and asks nobody who they are; it is for loopback and for tests.
"""

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_server import model, playground
from reference_server.delivery import RAW_SEND, EventStream, Progress, WholeAnswer
from reference_server.dialects import Answer, Question
from reference_server.dialects.anthropic_messages import MessagesQuestion
from reference_server.dialects.openai_chat import ChatQuestion
from reference_server.dialects.plain_sse import PlainQuestion
from reference_server.truth import Outcome, Row, TruthLog

DIALECTS: dict[str, type[Question]] = {
    "/v1/messages": MessagesQuestion,
    "/v1/chat/completions": ChatQuestion,
    "/chat/stream": PlainQuestion,
}

BODY_LIMIT = 1 << 20  # bytes
_RECEIVED_AT = "streamgauge.received_at"


@dataclass(frozen=True, slots=True)
class Settings:
    shape: model.Shape
    max_streams: int  # answers at a time; more are refused
    truth: TruthLog


def create_app(settings: Settings) -> ASGIApp:
    """The server as an ASGI application."""
    app = FastAPI(
        title="streamgauge reference server",
        docs_url=None,  # these pages would load their scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers={HTTPException: _refusal, RequestValidationError: _bad_request},
    )
    occasions = itertools.count(1)
    active: set[int] = set()  # ids of the answers on their way

    def answer(question: Question, request: Request) -> Response:
        if len(active) >= settings.max_streams:
            raise HTTPException(
                question.overloaded, f"all {settings.max_streams} streams are in use; try again", {"retry-after": "1"}
            )
        shape = _shape(settings.shape, request.headers)
        # A pinned seed pins the pace, too; otherwise no two requests are served alike, as with any model.
        occasion = 0 if "x-gauge-seed" in request.headers else next(occasions)
        plan = model.plan(shape, model.Ask(question.prompt(), question.limit()), occasion)
        planned = Answer(secrets.token_hex(12), int(time.time()), plan)
        request_id, client = f"req_{planned.id}", request.headers.get("x-gauge-stream")

        def ended(progress: Progress, outcome: Outcome) -> None:
            active.discard(id(progress))
            if not question.stream:
                return
            settings.truth.write(
                Row(
                    id=request_id,
                    client=client,
                    received_at=progress.received_at,
                    due=progress.received_at + progress.due[0],
                    sent=progress.sent,
                    ended_at=time.monotonic_ns(),
                    outcome=outcome,
                    tokens=len(progress.sent),
                )
            )

        progress = Progress(request.scope[_RECEIVED_AT], planned.plan.due, ended)
        active.add(id(progress))
        headers = {question.request_id_header: request_id}
        if question.stream:
            events = question.events(planned)
            return EventStream(progress, headers, question.opening(planned), events, question.closing(planned))
        return WholeAnswer(progress, headers, question.whole(planned))

    @app.post("/v1/messages")
    async def messages(question: MessagesQuestion, request: Request) -> Response:
        """Anthropic Messages."""
        return answer(question, request)

    @app.post("/v1/chat/completions")
    async def chat_completions(question: ChatQuestion, request: Request) -> Response:
        """OpenAI chat completions."""
        return answer(question, request)

    @app.post("/chat/stream")
    async def chat_stream(question: PlainQuestion, request: Request) -> Response:
        """Plain SSE; streams unless `"stream": false`."""
        return answer(question, request)

    @app.get("/healthz")
    async def healthz() -> dict[str, object]:
        """`active`: answers on their way, streaming or not. An answer that is no longer counted is in the truth log."""
        return {"status": "ok", "active": len(active)}

    playground.add_to(app)
    return _door(app)


def _door(app: ASGIApp) -> ASGIApp:
    """Outermost: stamps the request's arrival, bounds its body, and keeps the server's own `send` for delivery."""

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope[_RECEIVED_AT] = time.monotonic_ns()
        scope[RAW_SEND] = send
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_LIMIT:
                # The rest of the body is not read, so the connection cannot be used again.
                raise HTTPException(413, f"the body is larger than {BODY_LIMIT} bytes", {"connection": "close"})
            return message

        try:
            await app(scope, bounded, send)
        finally:
            del scope[RAW_SEND]  # `send` holds the scope: a circle for every request that only the collector could free

    return door


def _shape(shape: model.Shape, headers: Headers) -> model.Shape:
    settings = {}
    for name, read in model.SETTINGS.items():
        text = headers.get(f"x-gauge-{name}")
        if text is None:
            continue
        try:
            settings[name] = read(text)
        except ValueError as fault:
            raise HTTPException(400, f"header x-gauge-{name}: {fault}") from None
    return model.overridden(shape, settings)


async def _bad_request(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    if first["type"] == "json_invalid":
        return _error(request, 400, f"the body is not valid JSON: {first['ctx']['error']}", {})
    place = ".".join(str(part) for part in first["loc"][1:])
    return _error(request, 400, f"{place}: {first['msg']}" if place else str(first["msg"]), {})


async def _refusal(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return _error(request, fault.status_code, fault.detail, fault.headers or {})


def _error(request: Request, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """An error as the request's dialect has it; where no dialect is at home, as the plain one has it."""
    dialect = DIALECTS.get(request.url.path, PlainQuestion)
    request_id = f"req_{secrets.token_hex(12)}"
    return JSONResponse(
        dialect.error(status, message or HTTPStatus(status).phrase, request_id),
        status,
        {dialect.request_id_header: request_id, **headers},
    )
