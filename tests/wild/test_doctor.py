"""`doctor` in front of frameworks and servers: the checks that fail are those of docs/how-to/doctor.md."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.diagnosed import PLAIN, checked, diagnosed
from tests.support.reference import reference_server
from tests.wild.programs import debian, free_port, listening, node, python
from tests.wild.test_proxies import envoy

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
DJANGO = f"""{WORDS}
import asyncio
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import StreamingHttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of this test alone")
def pieces():
    for event in events():
        yield written(event)
        time.sleep(0.02)
    yield b"data: [DONE]\\n\\n"
async def pieces_in_time():
    for event in events():
        yield written(event)
        await asyncio.sleep(0.02)
    yield b"data: [DONE]\\n\\n"
def answer(request):
    return StreamingHttpResponse(ITERATOR(), headers=HEAD)
urlpatterns = [path("v1/chat/completions", answer)]
app = get_asgi_application()
"""
PHP = """<?php
header("content-type: text/event-stream");
header("cache-control: no-cache");
for ($number = 0; $number < 240; $number++) {
    $choice = ["index" => 0, "delta" => ["content" => "word $number "], "finish_reason" => null];
    echo "data: ", json_encode(["choices" => [$choice]]), "\n\n";
    FLUSH
    usleep(10000);
}
$end = ["index" => 0, "delta" => new stdClass(), "finish_reason" => "stop"];
$usage = ["prompt_tokens" => 9, "completion_tokens" => 240];
echo "data: ", json_encode(["choices" => [$end], "usage" => $usage]), "\n\ndata: [DONE]\n\n";
"""
# It reads the whole answer before it lets any of it pass, as those do that ask another service whether it is harmless.
GUARDRAIL = """
from litellm.integrations.custom_guardrail import CustomGuardrail
class Whole(CustomGuardrail):
    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        for chunk in [chunk async for chunk in response]:
            yield chunk
"""
WHOLE = {"guardrail": "guarding.Whole", "mode": "post_call", "default_on": True}
_STARLETTE = "starlette==0.41.3"  # newer ones leave event streams alone
SERVED = ("--preset", "exact", "--ttft", "100ms", "--itl", "20ms", "--tokens", "60")
_LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": "sk-for-this-test-alone"}


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


@pytest.mark.real("Django")
@pytest.mark.parametrize(
    ("name", "iterator"),
    [("Django under ASGI, an ordinary iterator", "pieces"), ("Django under ASGI, an async iterator", "pieces_in_time")],
)
def test_django(name: str, iterator: str, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(DJANGO.replace("ITERATOR", iterator))
    port = free_port()
    program = python("django", "django==5.2.8", "uvicorn==0.34.0") / "uvicorn"
    with listening([program, "words:app", "--host", "127.0.0.1", "--port", port], port, tmp_path) as url:
        checked(name, diagnosed(url))


@pytest.mark.real("PHP")
@pytest.mark.parametrize(("name", "flush"), [("PHP, output_buffering", ""), ("PHP, flushed", "ob_flush(); flush();")])
def test_php(name: str, flush: str, tmp_path: Path) -> None:
    (tmp_path / "index.php").write_text(PHP.replace("FLUSH", flush))
    port = free_port()
    command = [debian("php", "php-cli"), "-d", "output_buffering=4096", "-S", f"127.0.0.1:{port}", "index.php"]
    with listening(command, port, tmp_path) as url:
        checked(name, diagnosed(url))


@pytest.mark.real("Envoy")
@pytest.mark.parametrize(("name", "timeout"), [("Envoy, timeout 0s", "0s"), ("Envoy, route timeout", "1s")])
def test_envoy(name: str, timeout: str, tmp_path: Path) -> None:
    with reference_server(*SERVED) as server, envoy(server, tmp_path, f'"timeout": "{timeout}"') as url:
        checked(name, diagnosed(url))


@pytest.mark.real("LiteLLM")
@pytest.mark.parametrize(
    ("name", "guardrails"),
    [("LiteLLM", []), ("LiteLLM, a guardrail on the answer", [{"guardrail_name": "whole", "litellm_params": WHOLE}])],
)
def test_litellm(name: str, guardrails: Sequence[object], tmp_path: Path) -> None:
    port = free_port()
    program = python("litellm", "litellm[proxy]") / "litellm"
    (tmp_path / "guarding.py").write_text(GUARDRAIL)
    with reference_server(*SERVED) as server:
        model = {"model": "openai/reference", "api_base": f"{server.url}/v1", "api_key": "none"}
        config = {"model_list": [{"model_name": "reference", "litellm_params": model}], "guardrails": guardrails}
        (tmp_path / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        command = [program, "--config", "config.yaml", "--port", port, "--host", "127.0.0.1"]
        with listening(command, port, tmp_path, _LITELLM) as url:
            key = "authorization: Bearer sk-for-this-test-alone"
            checked(name, diagnosed(url, key, origin=server.url, experiments=(*PLAIN, "origin")))
