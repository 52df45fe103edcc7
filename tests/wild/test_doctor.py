"""`doctor` in front of frameworks from npm and PyPI: the checks that fail are those of docs/how-to/doctor.md."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.doctor.result import Status
from tests.support.diagnosed import PLAIN, diagnosed, listed, named
from tests.wild.programs import debian, free_port, listening, node, python

EXPRESS = """
const express = require("express"), compression = require("compression"), app = express();
app.use(compression());
app.post("/v1/chat/completions", async (request, answer) => {
  answer.setHeader("content-type", "text/event-stream");
  answer.setHeader("cache-control", process.argv[3] || "no-cache");
  const send = (value) => answer.write(`data: ${JSON.stringify(value)}\\n\\n`);
  for (let number = 0; number < 60; number++) {
    send({ choices: [{ index: 0, delta: { content: `word ${number} ` }, finish_reason: null }] });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const usage = { prompt_tokens: 9, completion_tokens: 60 };
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage });
  answer.end("data: [DONE]\\n\\n");
});
app.listen(Number(process.argv[2]), "127.0.0.1");
"""
# Answers of sixty words. `generated` and `active` are shown under vLLM's names.
WORDS = """
import json, time
def events():
    for number in range(60):
        yield {"choices": [{"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
           "usage": {"prompt_tokens": 9, "completion_tokens": 60}}
def written(event):
    return b"data: " + json.dumps(event).encode() + b"\\n\\n"
HEAD = {"content-type": "text/event-stream", "cache-control": "no-cache"}
"""
WSGI = f"""{WORDS}
def app(environment, start):
    start("200 OK", [*HEAD.items()])
    for event in events():
        yield written(event)
        time.sleep(0.02)
    yield b"data: [DONE]\\n\\n"
"""
ASGI = f"""{WORDS}
import asyncio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

counts = {{"active": 0, "generated": 0}}
class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)
async def answer(request):
    question = await request.body()
    if BLOCKS and len(question) > 5_000:
        time.sleep(1.0)
    async def generate():
        counts["active"] += 1
        try:
            for _ in range(4 if b'400' in question else 1):
                for event in events():
                    if _ and "usage" in event:
                        continue
                    counts["generated"] += 1
                    yield written(event)
                    await asyncio.sleep(0.02)
            yield b"data: [DONE]\\n\\n"
        finally:
            counts["active"] -= 1
    return StreamingResponse(generate(), headers=HEAD)
async def metrics(request):
    shown = {{"vllm:num_requests_running": counts["active"], "vllm:generation_tokens_total": counts["generated"]}}
    return PlainTextResponse("".join(f"{{name}} {{value}}\\n" for name, value in shown.items()))
routes = [Route("/v1/chat/completions", answer, methods=["POST"]), Route("/metrics", metrics)]
app = Starlette(routes=routes, middleware=[Middleware(each) for each in MIDDLEWARE])
"""
_STARLETTE = "starlette==0.41.3"  # newer ones leave event streams alone
_PAGE = listed()


def checked(name: str, found: Any) -> None:
    failed, warned = (sorted(each) for each in _PAGE[name])
    assert (named(found, Status.FAIL), named(found, Status.WARN)) == (failed, warned), found.sentence


@contextmanager
def express(folder: Path, caching: str) -> Iterator[str]:
    program, port = folder / "server.cjs", free_port()
    program.write_text(EXPRESS)
    modules = {"NODE_PATH": str(node("express", "compression") / "node_modules")}
    with listening([debian("node", "nodejs"), program, port, caching], port, folder, modules) as url:
        yield url


@pytest.mark.real("Express with compression")
@pytest.mark.parametrize(
    ("name", "caching"), [("Express, compression", "no-cache"), ("Express, no-transform", "no-cache, no-transform")]
)
def test_express_with_compression(name: str, caching: str, tmp_path: Path) -> None:
    with express(tmp_path, caching) as url:
        checked(name, diagnosed(url))


@pytest.mark.real("gunicorn")
@pytest.mark.parametrize(
    ("name", "worker"), [("gunicorn, a sync worker", ["sync"]), ("gunicorn, threads", ["gthread", "--threads", "8"])]
)
def test_gunicorn(name: str, worker: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(WSGI)
    port = free_port()
    program = python("gunicorn", "gunicorn==23.0.0") / "gunicorn"
    command = [program, "words:app", "--bind", f"127.0.0.1:{port}", "--workers", 1, "--worker-class", *worker]
    with listening(command, port, tmp_path) as url:
        checked(name, diagnosed(url, experiments=(*PLAIN, "heavy")))


@pytest.mark.real("Starlette")
@pytest.mark.parametrize(
    ("name", "middleware", "blocks", "experiments"),
    [
        ("Starlette, GZipMiddleware", "[GZipMiddleware]", False, PLAIN),
        ("Starlette, BaseHTTPMiddleware", "[Passing]", False, (*PLAIN, "leave")),
        ("Starlette, without middleware", "[]", False, (*PLAIN, "leave", "heavy")),
        ("Starlette, a blocking call", "[]", True, (*PLAIN, "heavy")),
    ],
)
def test_starlette(name: str, middleware: str, blocks: bool, experiments: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(f"BLOCKS = {blocks}\n{ASGI.replace('MIDDLEWARE]', f'{middleware}]')}")
    port = free_port()
    program = python("starlette", _STARLETTE, "uvicorn==0.34.0") / "uvicorn"
    with listening([program, "words:app", "--host", "127.0.0.1", "--port", port], port, tmp_path) as url:
        checked(name, diagnosed(url, experiments=experiments))
