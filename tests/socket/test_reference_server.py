"""What the reference server streams: each dialect, the headers that change an answer, and when tokens are due."""

import json
import re
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from streamgauge.reference_server.dialects import DIALECTS
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import PRESETS
from tests.support import patient
from tests.support.command import PATIENCE
from tests.support.dialects import PATHS, in_dialect
from tests.support.reference import ReferenceServer, events, reference_server

SHAPE = replace(PRESETS["exact"], ttft=10_000_000, itl=1_000_000, tokens=(60, 60))
QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "1ms", "--tokens", "60")
PROMPT = "Why is the line flat?"
BODY = {"model": "reference", "max_tokens": 500, "messages": [{"role": "user", "content": PROMPT}]}
every_dialect = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


# Dialects


def test_anthropic_messages_streams_named_events_with_usage_at_both_ends(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=BODY | {"stream": True})
    seen = events(answer.text)
    assert all(json.loads(data)["type"] == name for name, data in seen)
    names = [name for name, _ in seen]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[3:-3] == ["content_block_delta"] * 60
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    message = json.loads(seen[0][1])["message"]
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["cache_read_input_tokens"] == 0
    end = json.loads(seen[-2][1])
    assert end["delta"]["stop_reason"] == "end_turn"
    assert end["usage"]["output_tokens"] == 60


def test_openai_chat_streams_a_role_then_text_then_the_reason_then_usage_then_done(client: httpx.Client) -> None:
    body = BODY | {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, done = [data for _, data in events(client.post("/v1/chat/completions", json=body).text)]
    assert done == "[DONE]"
    first, *text, last, usage = map(json.loads, chunks)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(text) == 60
    assert all(chunk["choices"][0]["delta"]["content"] and chunk["usage"] is None for chunk in text)
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 60
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + 60
    assert len({chunk["id"] for chunk in (first, *text, last, usage)}) == 1


def test_openai_chat_sends_usage_only_on_request(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", json=BODY | {"stream": True})
    assert "usage" not in answer.text


def test_an_openai_model_name_cannot_break_out_of_the_json(client: httpx.Client) -> None:
    name = 'a{"content":""}"\\'
    answer = client.post("/v1/chat/completions", json=BODY | {"stream": True, "model": name})
    assert {json.loads(data)["model"] for _, data in events(answer.text)[:-1]} == {name}


def test_plain_sse_streams_text_then_a_json_event_then_done(client: httpx.Client) -> None:
    *text, usage, done = [data for _, data in events(client.post("/chat/stream", json=BODY).text)]
    assert len(text) == 60
    assert json.loads(usage).keys() >= {"done", "input_tokens", "output_tokens", "stop_reason"}
    assert json.loads(usage)["done"] is True
    assert done == "[DONE]"


def test_all_dialects_stream_the_same_text_and_answer_with_it_whole(client: httpx.Client) -> None:
    expected = "".join(step.text for step in write_script(SHAPE, ModelInput(PROMPT)).steps)

    def streamed(path: str) -> list[str]:
        return [data for _, data in events(client.post(path, json=in_dialect(path, BODY | {"stream": True})).text)]

    def whole(path: str) -> Any:
        return client.post(path, json=in_dialect(path, BODY | {"stream": False})).json()

    deltas = [json.loads(data)["delta"]["text"] for data in streamed("/v1/messages") if '"text_delta"' in data]
    assert "".join(deltas) == expected
    chunks = [json.loads(data)["choices"][0]["delta"] for data in streamed("/v1/chat/completions")[:-1]]
    assert "".join(delta.get("content", "") for delta in chunks) == expected
    assert "".join(streamed("/chat/stream")[:-2]) == expected
    pieces = [json.loads(data) for data in streamed("/v1/responses")]
    assert "".join(piece["delta"] for piece in pieces if piece["type"] == "response.output_text.delta") == expected
    assert whole("/v1/messages")["content"] == [{"type": "text", "text": expected}]
    assert whole("/v1/chat/completions")["choices"][0]["message"]["content"] == expected
    assert whole("/v1/responses")["output"][0]["content"][0]["text"] == expected
    assert whole("/chat/stream")["text"] == expected


@every_dialect
def test_a_stream_has_headers_against_buffering_and_a_request_id(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=in_dialect(path, BODY | {"stream": True}))
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers[DIALECTS[path].request_id_header].startswith("req_")


@every_dialect
def test_every_token_is_an_event_and_its_write_is_in_the_truth_log(
    server: ReferenceServer, client: httpx.Client, path: str
) -> None:
    body = in_dialect(path, BODY | {"stream": True, "max_tokens": 7})
    answer = client.post(path, json=body, headers={"x-gauge-stream": "w1-3"})
    row = server.truth()[-1]
    assert row["id"] == answer.headers[DIALECTS[path].request_id_header]
    assert row["client"] == "w1-3"
    assert row["outcome"] == "completed"
    assert row["tokens"] == len(row["sent"]) == 7
    assert row["due"] == row["received_at"] + 10_000_000
    assert row["sent"] == sorted(row["sent"])
    assert row["ended_at"] >= row["sent"][-1]


@every_dialect
def test_max_tokens_cuts_the_answer_and_is_given_as_the_reason(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=in_dialect(path, BODY | {"stream": False, "max_tokens": 5}))
    reasons = ("max_tokens", '"finish_reason":"length"', '"reason":"max_output_tokens"', '"finishReason":"length"')
    assert any(reason in answer.text for reason in reasons) or path == "/agent"  # which knows no reason
    assert re.search(r'"(?:output_tokens|completion_tokens|outputTokens)":5\b', answer.text)


# The model, changed by headers


def test_a_page_of_another_site_is_refused(client: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Hello?"}], "stream": False}
    sites = {site: client.post("/chat/stream", json=body, headers={"sec-fetch-site": site}) for site in
             ("cross-site", "same-origin", "none")}  # fmt: skip
    assert {site: answer.status_code for site, answer in sites.items()} == {
        "cross-site": 403, "same-origin": 200, "none": 200,
    }  # fmt: skip
    assert "other sites" in sites["cross-site"].json()["error"]["message"]


def test_the_model_begins_when_the_whole_question_has_arrived() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hello?"}]}).encode()
    with (
        reference_server("--preset", "exact", "--ttft", "100ms", "--tokens", "3") as slow,
        socket.create_connection(("127.0.0.1", int(slow.url.rpartition(":")[2])), PATIENCE) as link,
    ):
        link.sendall(b"POST /chat/stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
        time.sleep(0.3)  # a slow link: the wait is longer than the model's answer
        asked_at = time.monotonic_ns()
        link.sendall(body)
        answer = b""
        while b"[DONE]" not in answer:
            answer += link.recv(65_536)
        link.close()
        (row,) = slow.truth()
    assert row["received_at"] >= asked_at
    assert row["sent"][0] - asked_at >= 100_000_000


def test_headers_shape_the_answer_of_their_request_only(server: ReferenceServer, client: httpx.Client) -> None:
    headers = {"x-gauge-tokens": "3", "x-gauge-ttft": "50ms", "x-gauge-itl": "0ms", "x-gauge-spread": "0"}
    shaped = client.post("/v1/messages", json=BODY, headers=headers).json()
    assert shaped["usage"]["output_tokens"] == 3
    client.post("/chat/stream", json=BODY, headers=headers)
    row = server.truth()[-1]
    assert row["due"] - row["received_at"] == 50_000_000
    assert client.post("/v1/messages", json=BODY).json()["usage"]["output_tokens"] == 60


def test_another_seed_gives_another_answer(client: httpx.Client) -> None:
    texts = {client.post("/chat/stream", json=BODY, headers={"x-gauge-seed": seed}).text for seed in "112"}
    assert len(texts) == 2


@pytest.mark.timing
def test_delays_do_not_add_up_over_a_stream(server: ReferenceServer, client: httpx.Client) -> None:
    client.post("/chat/stream", json=BODY, headers={"x-gauge-tokens": "1200"})
    row = server.truth()[-1]
    late = [sent - row["due"] - k * 1_000_000 for k, sent in enumerate(row["sent"])]
    assert min(late) >= 0
    # Each token is late by at least 0.1 ms, so waits counted from the last token would add up to 80 ms over 800. The
    # least late of 400 tokens is compared, because a busy machine can delay all tokens of 0.3 s by more than that.
    assert min(late[-400:]) - min(late[:400]) < 20_000_000
    assert statistics.median(late) < 400_000_000


# The process


def test_health_and_front_page_say_what_this_is(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "active": 0}
    assert "/v1/messages" in client.get("/").text


def test_the_presets_differ_and_exact_is_exact() -> None:
    with reference_server("--preset", "exact", "--tokens", "2") as server:
        patient.post(f"{server.url}/chat/stream", json=BODY)
        (row,) = server.truth()
    assert row["due"] - row["received_at"] == 200_000_000
    assert PRESETS["exact"].spread == 0
    assert len(set(PRESETS.values())) == len(PRESETS)
