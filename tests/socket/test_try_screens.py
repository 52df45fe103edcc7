"""The screens of `streamgauge try`, as a new user sees them: `tests/data/screens` has one file for each.

Times, ids and ports are replaced by signs. STREAMGAUGE_WRITE_SCREENS=1 writes the files again; then look at them.
"""

import os
import re
import shutil
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.reference_server.faults.catalogue import FAULTS
from tests.support import patient
from tests.support.command import COLUMNS, free_port, try_
from tests.support.hostile import CHUNKED, LAST, Peer, asked, certificate, chunk, held, scripted
from tests.support.reference import ReferenceServer, reference_server

FOLDER = Path(__file__).parents[1] / "data/screens"
# Fewer tokens than those from which on `try` judges whether something buffers: a busy machine delays them all at once.
QUICK = ("--preset", "exact", "--ttft", "5ms", "--itl", "2ms", "--tokens", "6")
SIGNS = [
    (r"(chatcmpl-|msg_|req_)[0-9a-f]{24}", r"\1ID"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"streamgauge/[\w.]+", "streamgauge/VERSION"),
    (r"\.\.\. ", ""),
    (r"(events), (?:all at once|[\d,.]+ ms apart.*)", r"\1, # ms apart"),
    (r"[\d,]+\.\d (ms|s)\b", r"# \1"),
    (r"(?m)^ *[\d,]+\.\d(?=  )", "       #"),
    (r"(?m) +$", ""),
    (r"Temporary failure\s+in\s+name\s+resolution", "Name or service not\nknown"),  # of a machine without DNS
]
FAULT_ARGUMENTS = {
    "http_429": ":20s",
    "slow_headers": ":50ms",
    "stall": ":50ms@3",
    "block": ":50ms@3",
    "batch": ":4",
    "buffer": ":100",
    "buffer_time": ":30ms",
    "comments": "",
    "crlf": "",
    "cr": "",
    "bom": "",
    "gzip": "",
    "deaf": "",
    "half_cancel": ":stream",
    "no_terminator": "",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def normal(text: str) -> str:
    for pattern, sign in SIGNS:
        text = re.sub(pattern, sign, text)
    return text


def compare(name: str, result: Result) -> str:
    """The screen is the one of that name. Returns it."""
    screen, file = normal(result.output), FOLDER / f"{name}.txt"
    screen += f"exit code {result.exit_code}\n"
    assert max(map(len, result.output.splitlines())) <= COLUMNS
    if os.environ.get("STREAMGAUGE_WRITE_SCREENS"):
        file.write_text(screen)
    assert screen == file.read_text()
    return result.output


def answer(status: str, body: str, kind: str = "application/json", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body.encode())}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def stream(body: str) -> bytes:
    return CHUNKED + chunk(body.encode()) + LAST


CHAT = """\
data: {"choices":[{"delta":{"content":"Hel"}}]}

data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}

data: [DONE]

"""
WEB_PAGE = "<!doctype html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
WHOLE = '{"id":"c1","choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
OLLAMA = """\
{"model":"m","message":{"role":"assistant","content":"Hel"},"done":false}
{"model":"m","message":{"role":"assistant","content":"lo"},"done":false}
{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}
"""
PARTS = [
    '{"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}}]}',
    '{"candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}]}',
]
GEMINI_ARRAY = f"[{PARTS[0]}\n,\r\n{PARTS[1]}\n]\n"
GEMINI = "".join(f"data: {part}\n\n" for part in PARTS)
OWN = """\
data: {"kind":"piece","out":{"words":"Hel"}}

data: {"kind":"piece","out":{"words":"lo"}}

event: finished
data: {"kind":"over","usage":{"prompt_tokens":9,"completion_tokens":2}}

"""
OWN_WITHOUT_END = OWN[: OWN.index("event:")]
THOUGHT = """\
data: {"choices":[{"delta":{"role":"assistant","content":""}}]}

data: {"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":400}}

data: [DONE]

"""
WITHOUT_MARKER = CHAT.removesuffix("data: [DONE]\n\n")
ABORTED = CHAT.replace("stop", "abort")
NO_REASON = 'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\ndata: [DONE]\n\n'
RENAMED = (
    '{"error":{"message":"Unsupported parameter: \'max_tokens\' is not supported with this model. Use '
    '\'max_completion_tokens\' instead.","type":"invalid_request_error","param":"max_tokens",'
    '"code":"unsupported_parameter"}}'
)
EXTRA = '{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}'
MISSING = '{"detail":[{"type":"missing","loc":["body","question"],"msg":"Field required","input":{}}]}'
TENANT = '{"detail":[{"type":"missing","loc":["body","tenant"],"msg":"Field required","input":{}}]}'
RESPONSES = (
    '{"error":{"message":"Missing required parameter: \'input\'.","param":"input","code":"missing_required_parameter"}}'
)
FEWER = (
    '{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 400 > 128, which is the maximum"}}'
)
WITH_THIS_MODEL = '{"error":"stream_options is not supported with this model"}'
NO_MODEL = '{"error":{"message":"The model `reference` does not exist.","type":"NotFoundError","code":404}}'
NO_KEY = '{"error":{"message":"You didn\'t provide an API key.","type":"invalid_request_error"}}'
MANY = '{"error":{"message":"Rate limit reached","type":"rate_limit"}}'
OPENAI = ("--protocol", "openai_chat")
GEMINI_PATH = ("--protocol", "gemini", "--path", "/v1beta/models/{model}:streamGenerateContent")

ANSWERS: dict[str, tuple[Sequence[bytes], Sequence[str]]] = {  # name → what each connection gets, and options
    "a_web_page": ([answer("200 OK", WEB_PAGE, "text/html; charset=utf-8")], OPENAI),
    "not_streamed": ([answer("200 OK", WHOLE)], OPENAI),
    "ollama_taken_for_openai": (
        [CHUNKED.replace(b"text/event-stream", b"application/x-ndjson") + chunk(OLLAMA.encode()) + LAST],
        OPENAI,
    ),
    "gemini_without_alt": ([answer("200 OK", GEMINI_ARRAY), stream(GEMINI)], GEMINI_PATH),
    "own_format": ([stream(OWN)], OPENAI),
    "thinking_used_up_max_tokens": ([stream(THOUGHT), stream(CHAT)], OPENAI),
    "no_stop_reason": ([stream(NO_REASON)], OPENAI),
    "cut_only_once": ([stream(NO_REASON), stream(CHAT)], OPENAI),
    "max_completion_tokens": ([answer("400 Bad Request", RENAMED), stream(CHAT)], OPENAI),
    "stream_options_refused": ([answer("422 Unprocessable Entity", EXTRA), stream(CHAT)], OPENAI),
    "a_key_is_missing": ([answer("422 Unprocessable Entity", MISSING), stream(CHAT)], OPENAI),
    "a_key_of_their_own_is_missing": ([answer("422 Unprocessable Entity", TENANT)], OPENAI),
    "the_responses_api": ([answer("400 Bad Request", RESPONSES), stream(CHAT)], OPENAI),
    "too_many_tokens": ([answer("400 Bad Request", FEWER), stream(CHAT)], OPENAI),
    "not_with_this_model": ([answer("400 Bad Request", WITH_THIS_MODEL), stream(CHAT)], OPENAI),
    "pay_first": ([answer("402 Payment Required", '{"error":"no credit"}')], OPENAI),
    "unknown_model": ([answer("404 Not Found", NO_MODEL)], OPENAI),
    "no_key": ([answer("401 Unauthorized", NO_KEY, "application/json", "www-authenticate: Bearer")], OPENAI),
    "wrong_key": (
        [answer("401 Unauthorized", NO_KEY)],
        (*OPENAI, "--header", "authorization: Bearer ${STAGING_KEY}"),
    ),
    "key_without_scheme": ([answer("403 Forbidden", NO_KEY)], (*OPENAI, "--header", "authorization: ${STAGING_KEY}")),
    "rate_limit": ([answer("429 Too Many Requests", MANY, "application/json", "retry-after: 20")], OPENAI),
    "redirect_to_tls": (
        [answer("301 Moved", "", "text/html", "location: https://staging.example/v1")],
        OPENAI,
    ),
    "wrong_method": ([answer("405 Method Not Allowed", "", "text/html", "allow: GET, HEAD")], OPENAI),
    "wrong_content_type": ([answer("415 Unsupported Media Type", '{"detail":"form expected"}')], OPENAI),
    "nothing": ([answer("204 No Content", "")], OPENAI),
    "bad_gateway": ([answer("502 Bad Gateway", "<html><h1>502 Bad Gateway</h1>nginx</html>", "text/html")], OPENAI),
    "plain_http_to_a_tls_port": (
        [answer("400 Bad Request", "<html>The plain HTTP request was sent to HTTPS port</html>", "text/html")],
        OPENAI,
    ),
    "no_http": ([b"SSH-2.0-OpenSSH_9.2\r\n"], OPENAI),
    "an_error_instead_of_a_stream": ([answer("200 OK", '{"error":"CUDA out of memory"}')], OPENAI),
    "json_taken_for_text": ([stream(CHAT)], ("--protocol", "plain_sse")),
    "own_json_taken_for_text": ([stream(OWN)], ("--protocol", "plain_sse")),
    "own_json_complete_as_text": ([stream(OWN_WITHOUT_END + "data: [DONE]\n\n")], ("--protocol", "plain_sse")),
    "another_protocol_that_fails": (
        [answer("404 Not Found", "no"), stream(ABORTED), answer("404 Not Found", "no")],
        (),
    ),
    "json_as_text_without_an_end": ([stream(WITHOUT_MARKER), stream(WITHOUT_MARKER)], ("--protocol", "plain_sse")),
    "a_handler_that_fails": ([answer("500 Internal Server Error", "Internal Server Error", "text/plain")], OPENAI),
    "only_get": ([answer("405 Method Not Allowed", "", "text/html", "allow: GET")], (*OPENAI, "--path", "/ask")),
    "broken_chunks": ([CHUNKED + b"-5\r\nhello\r\n"], OPENAI),
    "an_own_format_without_an_end": ([stream(OWN_WITHOUT_END)], OPENAI),
    "content_after_the_end": ([stream(CHAT + CHAT)], OPENAI),
    "undeclared_words": ([answer("200 OK", "Hello there!", "text/plain")], OPENAI),
}


@pytest.mark.parametrize("protocol", [
    "anthropic_messages", "openai_chat", "openai_responses", "plain_sse", "ollama", "gemini",
])  # fmt: skip
def test_a_dialect_of_the_reference_server(server: ReferenceServer, protocol: str) -> None:
    result = try_("--host", server.url, "--protocol", protocol)
    assert "✓ COMPLETED" in compare(protocol, result)
    assert result.exit_code == 0


@pytest.mark.parametrize("protocol", ["ai_sdk", "ag_ui"])
def test_a_dialect_that_names_each_conversation(server: ReferenceServer, protocol: str) -> None:
    """Whose ids are different each time, so the screen is not compared."""
    result = try_("--host", server.url, "--protocol", protocol)
    assert f"✓ COMPLETED: the answer is complete, read as {protocol}" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize("protocol", ["openai_responses", "ai_sdk", "ag_ui"])
def test_a_stream_of_a_new_protocol_is_recognised_by_another(server: ReferenceServer, protocol: str) -> None:
    body = {
        "openai_responses": {"model": "m", "input": "?", "stream": True},
        "ai_sdk": {"messages": [{"role": "user", "parts": [{"type": "text", "text": "?"}]}]},
        "ag_ui": {"threadId": "t", "runId": "r", "messages": [{"role": "user", "content": "?"}]},
    }[protocol]
    answer = patient.post(f"{server.url}{PROTOCOLS[protocol].path}", json=body).text  # type: ignore[index]
    with scripted(asked(stream(answer)), asked(stream(answer))) as other:
        result = try_("--host", other.url, *OPENAI, "--path", "/chat")
    assert f'protocol = "{protocol}"\npath = "/chat"\n' in result.output
    assert f"✓ COMPLETED: the answer is complete, read as {protocol}" in result.output


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_reference_server(server: ReferenceServer, folder: Path, fault: str) -> None:
    if fault == "silence":
        (folder / "streamgauge.toml").write_text('[target.timeouts]\nidle = "3s"\n')
    asked_for = f"{fault}{FAULT_ARGUMENTS.get(fault, '' if fault.startswith('http_') else '@3')}"
    result = try_("--host", server.url, "--header", f"x-gauge-fault: {asked_for}")
    compare(f"fault_{fault}", result)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_a_server_of_somebody_else(name: str) -> None:
    pieces, options = ANSWERS[name]
    with scripted(*(asked(piece) for piece in pieces)) as other:
        result = try_("--host", other.url, *options, STAGING_KEY="sk-staging-0123456789")
    assert "0123456789" not in compare(name, result)
    assert len(other.peers) <= 3


def test_a_path_where_nothing_is(server: ReferenceServer) -> None:
    compare("wrong_path", try_("--host", server.url, *OPENAI, "--path", "/v2/chat"))


def test_a_host_that_is_the_whole_url_of_an_own_endpoint(server: ReferenceServer) -> None:
    compare("whole_url", try_("--host", f"{server.url}/v2/chat", *OPENAI))


def test_the_path_of_another_protocol(server: ReferenceServer) -> None:
    compare("wrong_protocol", try_("--host", server.url, *OPENAI, "--path", "/v1/messages"))


def test_a_server_that_buffers(server: ReferenceServer) -> None:
    slow = (
        "--header",
        "x-gauge-fault: buffer:100000",
        "--header",
        "x-gauge-ttft: 600ms",
        "--header",
        "x-gauge-tokens: 12",
    )
    compare("buffered", try_("--host", server.url, *slow))


def test_a_closed_port() -> None:
    compare("closed_port", try_("--host", f"http://127.0.0.1:{free_port()}"))


def test_a_name_that_does_not_exist() -> None:
    compare("unknown_name", try_("--host", "http://no-such-host.invalid"))


def test_tls_to_a_plain_port(server: ReferenceServer) -> None:
    compare("tls_to_a_plain_port", try_("--host", server.url.replace("http:", "https:")))


def test_a_server_that_takes_the_request_and_says_nothing(folder: Path) -> None:
    (folder / "streamgauge.toml").write_text('[target.timeouts]\nfirst_token = "300ms"\nidle = "1s"\n')
    with scripted(held()) as other:
        compare("silent", try_("--host", other.url))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
def test_a_certificate_that_nobody_knows(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder))
    with scripted(asked(stream(CHAT)), tls=context) as other:
        compare("bad_certificate", try_("--host", other.url, *OPENAI))
        assert try_("--host", other.url.replace("https:", "http:"), *OPENAI).exit_code == 1


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    nasty = "\x1b[2J\x07\u202e::error::x"
    body = CHAT.replace("Hel", nasty)
    words = answer("400 \x1b[31mBad", f'{{"error":"{nasty}"}}', "text/\x1b[0m", "request-id: \x1b]0;x\x07")
    with scripted(asked(stream(body)), asked(words)) as other:
        for _ in range(2):
            shown = try_("--host", other.url, *OPENAI, "--all").output
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown)
            assert "::error::" not in shown


def test_a_secret_that_the_server_repeats_is_not_shown() -> None:
    secret = "sk-staging-0123456789"
    echoed = CHAT.replace("Hel", f"your key is {secret}")

    def repeat(peer: Peer) -> None:
        request = peer.request().decode()
        assert secret in request
        peer.send(stream(echoed))

    options = (*OPENAI, "--header", "authorization: Bearer ${KEY}", "--all")
    pieces = "".join(
        f'data: {{"choices":[{{"delta":{{"content":"{secret[at : at + 6]}"}}}}]}}\n\n' for at in (0, 6, 12, 18)
    )
    refusal = answer("401 no", f'{{"error":"bad key {secret}"}}', f"text/{secret}")
    with scripted(repeat, asked(stream(pieces + CHAT)), asked(refusal)) as other:
        for more in ((), (), (), ("--json",)):
            assert secret not in try_("--host", other.url, *options, *more, KEY=secret).output


def test_every_outcome_has_its_sign() -> None:
    assert {"completed", "truncated", "empty", "interrupted"} <= STYLES.keys()
