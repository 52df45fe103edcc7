"""Error responses, in the form of the request's dialect; on paths without a dialect, in the form of plain SSE."""

import secrets
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from streamgauge.reference_server.dialects import dialect_of
from streamgauge.reference_server.model.answer import ModelFailed
from streamgauge.reference_server.sessions.shared import Unreachable


def error(request: Request, status: int, message: str, headers: Mapping[str, str]) -> Response:
    dialect = dialect_of(request.url.path)
    request_id = f"req_{secrets.token_hex(12)}"
    return JSONResponse(
        dialect.error(status, message or HTTPStatus(status).phrase, request_id),
        status,
        {dialect.request_id_header: request_id, **headers},
    )


async def _http_exception(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return error(request, fault.status_code, fault.detail, fault.headers or {})


async def _invalid_body(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    first = fault.errors()[0]
    if first["type"] == "json_invalid":
        return error(request, 400, f"the body is not valid JSON: {first['ctx']['error']}", {})
    place = ".".join(str(part) for part in first["loc"][1:])
    return error(request, 400, f"{place}: {first['msg']}" if place else str(first["msg"]), {})


async def _refused_question(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, PydanticCustomError)
    return error(request, 400, fault.message(), {})


async def _model_failed(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, ModelFailed)
    status = (
        dialect_of(request.url.path).overloaded if fault.status == 529 else fault.status
    )  # not every dialect knows 529
    return error(request, status, str(fault), fault.headers)


async def _unreachable(request: Request, fault: Exception) -> Response:
    return error(request, 503, str(fault), {"retry-after": "1"})


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: _http_exception,
    RequestValidationError: _invalid_body,
    PydanticCustomError: _refused_question,
    ModelFailed: _model_failed,
    Unreachable: _unreachable,
}
EXCEPTIONS = tuple(kind for kind in HANDLERS if isinstance(kind, type))


async def refuse(request: Request, fault: Exception) -> Response:
    """The response for one of EXCEPTIONS."""
    handler = next(HANDLERS[kind] for kind in type(fault).__mro__ if kind in HANDLERS)
    return await handler(request, fault)
