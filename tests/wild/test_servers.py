"""Streams of servers that nobody here wrote: GuideLLM's mock, LiteLLM, Express, the AI SDK, llama.cpp, Transformers."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import IDENTITY
from tests.support.reference import reference_server
from tests.wild.programs import PLACE, TORCH, debian, free_port, listening, made, node, python

EXPRESS = """
const express = require("express"), compression = require("compression"), app = express();
app.use(compression());
app.post("/v1/chat/completions", async (request, answer) => {
  answer.setHeader("content-type", "text/event-stream");
  answer.setHeader("cache-control", "no-cache");
  const send = (value) => answer.write(`data: ${JSON.stringify(value)}\\n\\n`);
  for (let number = 0; number < 20; number++) {
    send({ choices: [{ index: 0, delta: { content: `word ${number} ` }, finish_reason: null }] });
    if (request.query.flush) answer.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  answer.end("data: [DONE]\\n\\n");
});
app.listen(Number(process.argv[2]), "127.0.0.1");
"""
AI_SDK = """
import { createServer } from "node:http";
import * as ai from "ai";
import * as test from "ai/test";
const Model = test.MockLanguageModelV4 ?? test.MockLanguageModelV3 ?? test.MockLanguageModelV2;
const words = ["How ", "the ", "level ", "rises."];
createServer(async (request, response) => {
  const model = new Model({
    doStream: async () => ({
      stream: ai.simulateReadableStream({
        chunkDelayInMs: 20,
        chunks: [
          { type: "stream-start", warnings: [] },
          { type: "text-start", id: "t" },
          ...words.map((delta) => ({ type: "text-delta", id: "t", delta })),
          { type: "text-end", id: "t" },
          {
            type: "finish",
            finishReason: { unified: "stop", raw: "stop" },
            usage: { inputTokens: { total: 3 }, outputTokens: { total: 4 }, totalTokens: 7 },
          },
        ],
      }),
    }),
  });
  const result = ai.streamText({ model, prompt: "Hi" });
  result.pipeUIMessageStreamToResponse(response);
}).listen(Number(process.argv[2]), "127.0.0.1");
"""
# Optimising takes ten minutes more, and the model has one layer.
_QUICKLY_BUILT = {
    "CMAKE_ARGS": "-DCMAKE_C_FLAGS_RELEASE=-O0 -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF "
    "-DGGML_LLAMAFILE=OFF -DLLAVA_BUILD=OFF"
}
_LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": "sk-for-this-test-alone"}
UI_MESSAGE_STREAM = """
[target]
protocol = "custom"
path = "/api/chat"

[target.events]
text = { at = "delta", where = { type = "text-delta" } }
thinking = { at = "delta", where = { type = "reasoning-delta" } }
tool = { at = "inputTextDelta", where = { type = "tool-input-delta" } }
error = [{ at = "errorText", where = { type = "error" } }, { at = "reason", where = { type = "abort" } }]
end_data = "[DONE]"
"""


def read(url: str, toml: str = "", client: str = "wire", plan: Plan | None = None) -> StreamObservation:
    target = parse((toml or '[target]\nprotocol = "openai_chat"\nmodel = "m"').encode()).target
    person = clients.find(client)(Site.of(url, target, RunClock.starting_at(time.time_ns())))
    try:
        road = network.Link(network.find("direct"), 1)
        return person.stream(
            Question(prompts.ask("Hello?"), plan or Plan(), road, time.monotonic_ns(), IDENTITY)
        ).observation
    finally:
        person.close()


def seconds_of_content(seen: StreamObservation) -> float:
    assert seen.first_content_at is not None
    assert seen.last_content_at is not None
    return (seen.last_content_at - seen.first_content_at) / 1e9


def complete(seen: StreamObservation) -> None:
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")
    assert seen.content_chunks > 1


@pytest.mark.real("GuideLLM's mock server")
def test_guidellms_mock_server_is_read_in_both_of_its_apis(tmp_path: Path) -> None:
    port = free_port()
    program = python("guidellm", "guidellm", first=TORCH) / "guidellm"
    command = [program, "mock-server", "--port", port, "--ttft-ms", 100, "--itl-ms", 10, "--output-tokens", 30]
    with listening(command, port, tmp_path) as url:
        seen = read(url)
        complete(seen)
        assert seen.output_tokens is not None
        older = '[target]\nprotocol = "openai_chat"\npath = "/v1/completions"\n[target.request.body]\n'
        older += 'model = "{model}"\nprompt = "{prompt}"\nstream = "{stream}"\nmax_tokens = 20'
        complete(read(url, older))


@pytest.mark.real("LiteLLM")
def test_litellm_in_front_of_the_reference_server_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WILD_KEY", "sk-for-this-test-alone")
    toml = '[target]\nprotocol = "openai_chat"\nheaders = { authorization = "Bearer ${WILD_KEY}" }\nmodel = '
    port = free_port()
    program = python("litellm", "litellm[proxy]") / "litellm"
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "10ms", "--tokens", "20") as server:
        model = {"model": "openai/reference", "api_base": f"{server.url}/v1", "api_key": "none"}
        config = {"model_list": [{"model_name": "m", "litellm_params": model}]}
        (tmp_path / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        command = [program, "--config", "config.yaml", "--port", port, "--host", "127.0.0.1"]
        with listening(command, port, tmp_path, _LITELLM) as url:
            for client in ("wire", "httpx"):
                seen = read(url, f'{toml}"m"', client)
                complete(seen)
                assert seen.stop_reason == "stop"
            unknown = read(url, f'{toml}"other"')
            assert (unknown.outcome, unknown.http_status) == (Outcome.REFUSED, 400)
            assert "other" in unknown.detail
            assert read(url, f'{toml}"m"', plan=Plan(leave_after_chunks=3)).outcome is Outcome.CANCELLED


@pytest.mark.real("Express")
def test_express_with_compression_is_read_as_browsers_get_it(tmp_path: Path) -> None:
    port = free_port()
    folder = node("express", "compression")
    script = folder / "express.cjs"
    script.write_text(EXPRESS)
    with listening([debian("node", "nodejs"), script, port], port, tmp_path) as url:
        plain = read(url)
        complete(plain)
        browser = '[target]\nprotocol = "openai_chat"\nheaders = { "accept-encoding" = "gzip, br" }\n'
        held_back = read(url, browser)
        complete(held_back)
        flushed = read(url, browser + 'path = "/v1/chat/completions?flush=1"')
        complete(flushed)
    assert plain.content_chunks == held_back.content_chunks == flushed.content_chunks == 20
    assert seconds_of_content(held_back) < 0.1 < seconds_of_content(plain)
    assert seconds_of_content(flushed) > 0.3


@pytest.mark.real("the AI SDK")
def test_the_ai_sdks_stream_is_read_by_a_table(tmp_path: Path) -> None:
    port = free_port()
    folder = node("ai")
    script = folder / "ai.mjs"
    script.write_text(AI_SDK)
    with listening([debian("node", "nodejs"), script, port], port, tmp_path) as url:
        for client in ("wire", "httpx"):
            seen = read(url, UI_MESSAGE_STREAM, client)
            complete(seen)
            assert (seen.content_chunks, seen.characters) == (4, len("How the level rises."))


@pytest.mark.real("llama.cpp's Python server")
def test_llama_cpps_server_is_read_and_what_it_cuts_short_is_seen(tmp_path: Path) -> None:
    folder = python("llama_cpp", "llama-cpp-python[server]", "gguf", environment=_QUICKLY_BUILT)
    model = made(PLACE / "models" / "tiny.gguf", folder, "tiny_gguf.py")
    port = free_port()
    command = [folder / "python", "-m", "llama_cpp.server", "--model", model, "--port", port, "--verbose", "false"]
    config = '[target]\nprotocol = "openai_chat"\nmax_tokens = '
    with listening(command, port, tmp_path) as url:
        for client in ("wire", "httpx"):
            seen = read(url, f"{config}20", client)
            complete(seen)
            assert (seen.content_chunks, seen.stop_reason) == (20, "length")
        left = read(url, f"{config}400", plan=Plan(leave_after_chunks=3))
        assert left.outcome is Outcome.CANCELLED
        with ThreadPoolExecutor() as pool:  # a second request makes it end the first one's answer
            first = pool.submit(read, url, f"{config}400")
            time.sleep(0.1)
            complete(read(url, f"{config}20"))
            cut = first.result()
        whole = (cut.outcome, cut.stop_reason, cut.content_chunks) == (Outcome.COMPLETED, "length", 400)
        assert whole or (cut.outcome, cut.stop_reason) == (Outcome.TRUNCATED, None)


@pytest.mark.real("transformers serve")
def test_transformers_serve_needs_an_end_by_reason(tmp_path: Path) -> None:
    folder = python("transformers", "transformers[serving]", first=TORCH)
    model = made(PLACE / "models" / "tiny", folder, "tiny_transformers.py")
    port = free_port()
    command = [folder / "transformers", "serve", "--port", port, "--host", "127.0.0.1"]
    config = f'[target]\nprotocol = "openai_chat"\nmodel = "{model}"\nmax_tokens = 20\n'
    with listening(command, port, tmp_path, {"HF_HUB_OFFLINE": "1"}) as url:
        without = read(url, config)
        assert without.outcome is Outcome.TRUNCATED
        assert 'end = "finish_reason"' in without.detail
        complete(read(url, config + 'end = "finish_reason"'))
