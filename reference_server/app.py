"""The routes. Each is thin: the work is done in `answers`, `sessions` and `delivery`.

The server keeps no conversations. It can require an API key, but knows no users.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, get_args

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from streamgauge.reference_server import exposition, playground, refusals
from streamgauge.reference_server.answers import Answers
from streamgauge.reference_server.dialects.ag_ui import RunQuestion
from streamgauge.reference_server.dialects.ai_sdk import UiQuestion
from streamgauge.reference_server.dialects.anthropic_messages import CountQuestion, MessagesQuestion
from streamgauge.reference_server.dialects.gemini import GeminiQuestion, WholeGeminiQuestion
from streamgauge.reference_server.dialects.ollama import OllamaQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.door import Admission, guarded
from streamgauge.reference_server.sessions.registry import Sessions
from streamgauge.reference_server.sessions.resume import resume
from streamgauge.reference_server.sessions.shared import Verb
from streamgauge.reference_server.settings import Settings

if TYPE_CHECKING:
    from streamgauge.reference_server.upstream.anthropic import Upstream  # the SDK is slow to import


def create_app(
    settings: Settings, sessions: Sessions, admission: Admission, upstream: "Upstream | None" = None
) -> ASGIApp:
    """The server as an ASGI application."""
    app = FastAPI(
        title="streamgauge reference server",
        docs_url=None,  # FastAPI's documentation pages would load scripts from another site
        redoc_url=None,
        responses={"4XX": {"description": "Refused, with an error as the route's protocol has it"}},
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers=refusals.HANDLERS,
    )
    _add_questions(app, Answers(settings, sessions, admission, upstream))
    _add_streams(app, sessions)
    _add_monitoring(app, sessions, admission)
    playground.add_to(app)
    routes = [route for route in app.routes if isinstance(route, _QuestionRoute)]
    questions = {route.path: route.handle_question for route in routes if "{" not in route.path}
    return guarded(app, questions, settings, admission)


def _add_questions(app: FastAPI, answers: Answers) -> None:
    app.router.route_class = _QuestionRoute

    @app.post("/v1/messages")
    async def messages(question: MessagesQuestion, request: Request) -> Response:
        """Anthropic Messages."""
        return await answers.answer(question, request)

    @app.post("/v1/chat/completions")
    async def chat_completions(question: ChatQuestion, request: Request) -> Response:
        """OpenAI chat completions."""
        return await answers.answer(question, request)

    @app.post("/v1/responses")
    async def responses(question: ResponsesQuestion, request: Request) -> Response:
        """OpenAI Responses."""
        return await answers.answer(question, request)

    @app.post("/chat/stream")
    async def chat_stream(question: PlainQuestion, request: Request) -> Response:
        """Plain SSE; streams unless `"stream": false`."""
        return await answers.answer(question, request)

    @app.post("/api/chat")
    async def api_chat(question: UiQuestion | OllamaQuestion, request: Request) -> Response:
        """The AI SDK, if the messages have parts, or Ollama; streams unless `"stream": false`."""
        return await answers.answer(question, request)

    @app.post("/agent")
    async def agent(question: RunQuestion, request: Request) -> Response:
        """A run of AG-UI; streams unless `"stream": false`."""
        return await answers.answer(question, request)

    @app.post("/v1/messages/count_tokens")
    async def count_tokens(question: CountQuestion, request: Request) -> Response:
        """The input tokens of a question, without an answer to it."""
        return JSONResponse({"input_tokens": await answers.count_tokens(question, request)})

    _add_gemini(app, answers)
    app.router.route_class = APIRoute


def _add_gemini(app: FastAPI, answers: Answers) -> None:
    """Routes with the model in the path."""

    @app.post("/v1/models/{model}:streamGenerateContent")
    @app.post("/v1beta/models/{model}:streamGenerateContent")
    async def stream_generate_content(question: GeminiQuestion, request: Request) -> Response:
        """Gemini, as server-sent events."""
        if request.query_params.get("alt") != "sse":
            raise HTTPException(400, "this server streams server-sent events only: add ?alt=sse to the path")
        question.model = request.path_params["model"]
        return await answers.answer(question, request)

    @app.post("/v1/models/{model}:generateContent")
    @app.post("/v1beta/models/{model}:generateContent")
    async def generate_content(question: WholeGeminiQuestion, request: Request) -> Response:
        """Gemini, in one piece."""
        question.model = request.path_params["model"]
        return await answers.answer(question, request)


class _QuestionRoute(APIRoute):
    """Parses and validates the body in one step in pydantic's core, whatever its content type, and calls the endpoint.

    FastAPI's own handler also resolves dependencies and opens a context for each, which these routes do not need. That
    would take longer than writing the script of an answer, so `door.guarded` calls `handle_question` directly. Errors
    are the same both ways.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.handle_question

    async def handle_question(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except refusals.EXCEPTIONS as fault:
            return await refusals.refuse(request, fault)

    async def _answer(self, request: Request) -> Response:
        try:
            body = await request.body()
            kind = self.endpoint.__annotations__["question"]
            kind = next(each for each in get_args(kind) or (kind,) if each.speaks(body))
            question = kind.model_validate_json(body)
        except ValidationError as fault:
            faults = fault.errors(include_url=False)
            raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in faults]) from None
        response: Response = await self.endpoint(question, request)
        return response


def _add_streams(app: FastAPI, sessions: Sessions) -> None:
    """Routes about one answer by its id. With a Redis they reach the answers of all processes that share it."""

    async def ask(verb: Verb, id: str) -> dict[str, Any]:
        found = await sessions.ask(verb, id)
        if found is None:
            raise HTTPException(404, f"no stream called {id!r}, or it ended too long ago")
        return found

    @app.get("/streams/{id}")
    async def stream(id: str) -> dict[str, Any]:
        """The state of an answer, also for a while after its end. The id is in the response's request id header."""
        return await ask("report", id)

    @app.post("/streams/{id}/cancel")
    async def cancel(id: str) -> dict[str, Any]:
        """Stop generating an answer. Its client gets an ordinary end. No effect on an answer that has ended."""
        return await ask("cancel", id)

    @app.post("/v1/responses/{id}/cancel")
    async def cancel_response(id: str) -> dict[str, Any]:
        """Stop generating an answer of OpenAI Responses that was asked for in the background."""
        known = await sessions.ask("report", _stream_of(id))
        if known is None:
            raise HTTPException(404, f"Response with id {id!r} not found.")
        if not known["background"]:
            raise HTTPException(400, "Cannot cancel a synchronous response: leave the stream in place of it.")
        found = await ask("cancel", known["id"])
        return {"id": id, "object": "response", "background": True, "status": found["state"]}

    @app.get("/streams/{id}/events")
    async def events(id: str, last_event_id: Annotated[str, Header()] = "") -> Response:
        """A resumable answer from its beginning, or after the event that `Last-Event-ID` names, as EventSource asks."""
        if last_event_id and last_event_id.partition(":")[0] != id:
            raise HTTPException(400, f"the event {last_event_id!r} does not belong to this stream")
        return await resume(sessions, last_event_id or f"{id}:0", None)

    @app.get("/streams/{id}/audit")
    async def audit(id: str) -> dict[str, Any]:
        """Each event of a resumable answer, when it was generated, and when a client first had it."""
        return await ask("audit", id)


def _stream_of(response: str) -> str:
    """The id of the stream that carries a response: both are made of the answer's own."""
    return f"req_{response.removeprefix('resp_')}"


def _add_monitoring(app: FastAPI, sessions: Sessions, admission: Admission) -> None:
    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(exposition.metrics(sessions), media_type=exposition.CONTENT_TYPE)

    @app.get("/healthz")
    async def healthz() -> dict[str, object]:
        """`active`: answers that have not ended. A streamed one is in the truth log before it is no longer counted."""
        return {"status": "draining" if admission.draining else "ok", "active": len(sessions.streams.active)}
