"""`streamgauge init`: the config that it writes, what it writes only if asked to, and what it never writes."""

import os
import pty
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamgauge.harness.cli import main
from streamgauge.harness.config.load import load, parse
from streamgauge.harness.config.presets import PRESETS
from streamgauge.harness.config.schema import Sla, Target
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.probe import first_config
from tests.support.command import BIN, COLUMNS, PATIENCE, try_
from tests.support.hostile import CHUNKED, LAST, Peer, Script, asked, chunk, scripted
from tests.support.reference import ReferenceServer, reference_server

SECRET = "sk-staging-0123456789"
CHAT = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
STREAM = CHUNKED + chunk(CHAT) + LAST
NOT_FOUND = asked(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
MADE = Path("streamgauge.toml")


def init(*words: object, **environment: str) -> Result:
    """`streamgauge init …` without a terminal."""
    runner = CliRunner(env={"COLUMNS": str(COLUMNS), "NO_COLOR": "1", **environment})
    result = runner.invoke(main, ["init", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(
        "--preset",
        "exact",
        "--ttft",
        "5ms",
        "--itl",
        "2ms",
        "--tokens",
        "6",
        environment={"STREAMGAUGE_API_KEY": SECRET},
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def openai(key: str = "") -> Script:
    """A server that speaks OpenAI's protocol only and, with `key`, wants it in its header."""

    def script(peer: Peer) -> None:
        request = peer.request()
        if b"/v1/chat/completions" not in request.splitlines()[0]:
            peer.send(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
        elif key and f"bearer {key}".encode() not in request.lower():
            peer.send(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")
        else:
            peer.send(STREAM)

    return script


def test_a_config_that_an_endpoint_has_proved_is_written_and_works(server: ReferenceServer) -> None:
    result = init("--host", server.url, "--model", "m-1", "--key", "GAUGE_KEY", "--preset", "chat", GAUGE_KEY=SECRET)
    assert result.exit_code == 0, result.output
    text = MADE.read_text()
    assert text.splitlines()[0].endswith("proved: this endpoint answered one question completely with it.")
    made = load()
    assert made.target == Target(model="m-1", headers={"x-api-key": "${GAUGE_KEY}"})
    assert made.sla == [Sla(preset="chat")]
    assert all(f"#   {rule}\n" in text for rule in PRESETS["chat"])
    assert SECRET not in text + result.output
    assert (
        f"next: streamgauge run chat --host {server.url} --users 20 --run-time 2m --report report.html" in result.output
    )
    assert MADE.stat().st_mode & 0o777 == 0o600
    assert try_("--host", server.url, GAUGE_KEY=SECRET).exit_code == 0


def test_the_protocol_is_recognised() -> None:
    with scripted(openai()) as other:
        assert init("--host", other.url, "--preset", "voice").exit_code == 0
    assert load().target.protocol == "openai_chat"


def test_a_model_that_nobody_named_is_a_comment_and_no_name_of_ours() -> None:
    with scripted(openai()) as other:
        assert init("--host", other.url, "--preset", "chat").exit_code == 0
    assert '# model = "…"  # nobody named one, so that "reference" was asked for' in MADE.read_text()
    assert not [line for line in MADE.read_text().splitlines() if line.startswith("model")]


ONLY = {  # where each protocol answers, and with what
    "openai_responses": (
        b"/v1/responses",
        b'data: {"type":"response.output_text.delta","delta":"Hello"}\n\n'
        b'data: {"type":"response.completed","response":{"status":"completed"}}\n\n',
    ),
    "gemini": (
        b"/v1beta/models/m-1:streamGenerateContent?alt=sse",
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hello"}]},"finishReason":"STOP"}]}\n\n',
    ),
    "ollama": (b"/api/chat", b'{"message":{"content":"Hello"},"done":true,"done_reason":"stop"}\n'),
    "ai_sdk": (
        b"/api/chat",
        b'data: {"type":"text-delta","id":"1","delta":"Hello"}\n\n'
        b'data: {"type":"finish","finishReason":"stop"}\n\ndata: [DONE]\n\n',
    ),
    "ag_ui": (
        b"/agent",
        b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"1","delta":"Hello"}\n\ndata: {"type":"RUN_FINISHED"}\n\n',
    ),
    "plain_sse": (b"/chat/stream", b"data: Hello\n\ndata: [DONE]\n\n"),
}


@pytest.mark.parametrize("protocol", ONLY)
def test_a_server_of_one_protocol_is_asked_at_its_path_and_with_the_key_in_its_header(protocol: str) -> None:
    path, stream = ONLY[protocol]
    header = b"x-goog-api-key: " if protocol == "gemini" else b"authorization: bearer "

    def script(peer: Peer) -> None:
        request = peer.request()
        if request.split()[1] != path:
            peer.send(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
        elif header + SECRET.encode() not in request.lower():
            peer.send(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")
        else:
            peer.send(CHUNKED + chunk(stream) + LAST)

    with scripted(script) as other:
        result = init("--host", other.url, "--model", "m-1", "--preset", "chat", "--key", "GAUGE_KEY", GAUGE_KEY=SECRET)
    assert result.exit_code == 0, result.output
    assert load().target.protocol == protocol


def test_a_server_that_lacks_the_model_is_told_from_one_that_lacks_the_path() -> None:
    def script(peer: Peer) -> None:
        found = peer.path() == "/api/chat"
        words = b'{"error":"model \'m-1\' not found"}' if found else b"404 page not found"
        peer.send(b"HTTP/1.1 404 No\r\ncontent-length: %d\r\n\r\n%b" % (len(words), words))

    with scripted(script) as other:
        result = init("--host", other.url, "--model", "m-1", "--preset", "chat")
    assert result.exit_code == 1
    assert 'The server does not know the model "m-1"' in result.output
    assert "Each protocol was asked at its usual path" not in result.output


def test_a_key_is_sent_in_the_header_of_the_protocol_that_is_recognised() -> None:
    with scripted(openai(SECRET)) as other:
        result = init("--host", other.url, "--preset", "voice", "--key", "GAUGE_KEY", GAUGE_KEY=SECRET)
    assert result.exit_code == 0, result.output
    assert load().target.headers == {"authorization": "Bearer ${GAUGE_KEY}"}


def test_an_existing_file_is_replaced_only_by_force_and_only_if_the_endpoint_answers() -> None:
    MADE.write_text("# mine\n")
    with scripted(openai()) as other:
        refused = init("--host", other.url, "--preset", "chat")
        assert (refused.exit_code, refused.output) == (
            2,
            "streamgauge: streamgauge.toml: exists already; give --force to replace it\n",
        )
        assert other.peers == []
    with scripted(NOT_FOUND) as other:
        assert init("--host", other.url, "--preset", "chat", "--force").exit_code == 1
    assert MADE.read_text() == "# mine\n"
    with scripted(openai()) as other:
        assert init("--host", other.url, "--preset", "chat", "--force").exit_code == 0
    assert "mine" not in MADE.read_text()


def test_without_a_complete_answer_it_says_what_try_says_and_writes_nothing() -> None:
    with scripted(NOT_FOUND) as other:
        result = init("--host", other.url, "--preset", "chat")
    assert result.exit_code == 1
    assert "✗ REFUSED" in result.output
    said = " ".join(result.output.split())
    assert "asked at its usual path, and nothing is there: anthropic_messages, openai_chat, openai_responses" in said
    assert "would be at" not in said, "that was asked, too"
    assert "`streamgauge init` asks in each" not in said
    assert "--path /…" in said
    assert "streamgauge.toml: not written, because no answer was complete" in result.output
    assert not MADE.exists()


def test_the_whole_url_of_an_endpoint_is_divided_into_host_and_path() -> None:
    with scripted(NOT_FOUND) as other:
        said = " ".join(init("--host", f"{other.url}/assistant/answer", "--preset", "chat").output.split())
        assert f"divide it: --host {other.url} --path /assistant/answer" in said


@pytest.mark.parametrize("listens", [True, False])
def test_an_unproved_config_is_written_only_if_asked_for_and_says_so(listens: bool) -> None:
    with scripted(NOT_FOUND) as other:
        url = other.url if listens else "http://127.0.0.1:1"
        words = ("--host", url, "--preset", "agent", "--unproved")
        assert "--unproved needs --protocol" in init(*words).output
        assert not MADE.exists()
        result = init(*words, "--protocol", "openai_chat", "--model", "m-1")
    assert result.exit_code == 0
    assert "written, NOT proved" in result.output
    first = MADE.read_text().splitlines()[0]
    assert f"NOT proved: the endpoint gave no complete answer ({'refused' if listens else 'unreachable'})" in first
    assert load().target == Target(protocol="openai_chat", model="m-1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no terminal: give --host URL and --preset NAME"),
        (["--host", "http://127.0.0.1:1"], "there is no terminal: give --host URL and --preset NAME"),
        (["--preset", "chat"], "there is no terminal: give --host URL and --preset NAME"),
        (["--host", "http://127.0.0.1:1", "--preset", "chatt"], "no preset called 'chatt'; there are chat, voice"),
        (["--host", "http://127.0.0.1:1", "--preset", "chatt"], "did you mean 'chat'?"),
        (["--host", "staging.example", "--preset", "chat"], "not a URL of a server"),
        (["--host", "http://127.0.0.1:1", "--preset", "chat", "--key", "NOT_THERE"], "there is none of the name given"),
        (["--host", "http://127.0.0.1:1", "--preset", "chat", "--path", "v1"], "does not begin with a slash"),
        (["--host", "http://127.0.0.1:1", "--preset", "chat", "--model", "\udcff"], "--model: it is not text in UTF-8"),
        (["--host", "http://127.0.0.1:1", "--preset", "chat", "--header", "x"], "write it as 'name: value'"),
        (["--host", "http://127.0.0.1:1", "--preset", "chat", "--header", "x: ${NO_SUCH}"], "no variable 'NO_SUCH'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(words: list[str], message: str) -> None:
    result = init(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1
    assert not MADE.exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced_and_nothing_is_sent(make: Callable[[Path], None]) -> None:
    """Opening a pipe would wait for its reader without end."""
    make(MADE)
    result = init("--host", "http://127.0.0.1:1", "--preset", "chat", "--force")
    message = "streamgauge: streamgauge.toml: it is no regular file, so it is not replaced; move it away\n"
    assert (result.exit_code, result.output) == (2, message)


def in_a_shell(script: str) -> subprocess.CompletedProcess[str]:
    """`script`, in which `$INIT` is the command that writes an unproved config."""
    asked = "init --host http://127.0.0.1:1 --preset chat --protocol gemini --unproved --force"
    environment = {**os.environ, "INIT": f"{BIN / 'streamgauge'} {asked}"}
    return subprocess.run(
        ["sh", "-c", script], check=False, capture_output=True, text=True, timeout=PATIENCE, env=environment
    )


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    """As on a full disk."""
    MADE.write_text("mine")
    ended = in_a_shell("ulimit -f 0; exec $INIT")
    assert ended.stderr.splitlines()[-1] == "streamgauge: streamgauge.toml: cannot be written: File too large"
    assert (ended.returncode, MADE.read_text(), list(tmp_path.iterdir())) == (2, "mine", [tmp_path / MADE])


def test_a_closed_standard_input_is_no_terminal() -> None:
    ended = in_a_shell("exec $INIT --key INIT <&-")
    assert ended.returncode == 0, ended.stderr
    assert load().target.headers == {"x-goog-api-key": "${INIT}"}


@pytest.mark.parametrize("words", [["--key", SECRET], ["--header", f"authorization: Bearer {SECRET}"]])
def test_a_key_that_is_given_as_text_is_refused_and_not_repeated(words: list[str]) -> None:
    with scripted(openai()) as other:
        result = init("--host", other.url, "--preset", "chat", *words)
        assert (result.exit_code, other.peers) == (2, [])
    assert SECRET not in result.output
    assert not MADE.exists()


def at_a_terminal(*answers: str, options: tuple[str, ...] = (), **environment: str) -> tuple[int, str]:
    """`streamgauge init` at a terminal where somebody types these lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [BIN / "streamgauge", "init", *options],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1", **environment},
    ) as process:
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()  # if it waits for more answers
        os.close(ours)
    return process.returncode, output


def test_at_a_terminal_it_asks_three_questions_and_asks_again_after_a_typo() -> None:
    with scripted(openai()) as other:
        code, said = at_a_terminal(other.url, "", "chatt", "article")
    assert code == 0, said
    for question in ("URL of the endpoint", "Model, as the endpoint calls it", "Rules (chat, voice"):
        assert question in said
    assert "[reference]" not in said, "the name of our own model is no default for another server"
    assert "article, mlperf_server, mlperf_interactive) [chat]" in said, "the limits by model are too many for a prompt"
    assert "no preset called 'chatt'" in said
    made = load()
    assert (made.target.protocol, made.sla) == ("openai_chat", [Sla(preset="article")])


def test_at_a_terminal_it_asks_for_the_key_that_an_endpoint_wants() -> None:
    with scripted(openai(SECRET)) as other:
        code, said = at_a_terminal(other.url, "m-1", "chat", "GAUGE_KEY", GAUGE_KEY=SECRET)
    assert code == 0, said
    assert load().target.headers == {"authorization": "Bearer ${GAUGE_KEY}"}
    assert SECRET not in said + MADE.read_text()


def test_an_unproved_config_has_the_key_that_was_typed() -> None:
    with scripted(asked(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")) as other:
        options = ("--unproved", "--protocol", "openai_chat")
        code, said = at_a_terminal(other.url, "m-1", "chat", "GAUGE_KEY", options=options, GAUGE_KEY=SECRET)
    assert code == 0, said
    assert load().target.headers == {"authorization": "Bearer ${GAUGE_KEY}"}
    assert SECRET not in said + MADE.read_text()


def test_at_a_terminal_it_asks_for_the_path_of_an_endpoint_that_is_at_no_usual_one() -> None:
    def script(peer: Peer) -> None:
        found = peer.path() == "/assistant/answer"
        peer.send(
            CHUNKED + chunk(ONLY["plain_sse"][1]) + LAST if found else b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"
        )

    with scripted(script) as other:
        code, said = at_a_terminal(other.url, "m-1", "chat", "/assistant/answer")
    assert code == 0, said
    assert (load().target.protocol, load().target.path) == ("plain_sse", "/assistant/answer")


def test_at_a_terminal_the_end_of_the_input_is_no_verdict() -> None:
    code, said = at_a_terminal("\x04")
    assert (code, "Traceback" in said) == (3, False), said
    assert not MADE.exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_file_is_a_valid_config_with_every_preset_and_with_each_hint_in_it(preset: str) -> None:
    text = first_config.text("http://x", Target(headers={"x-api-key": "${KEY}"}), preset)
    assert parse_all(parse(text.encode()).sla)
    head, _, hints = text.partition("# More, to uncomment")
    whole = head + "".join(f"{line[2:]}\n" for line in hints.splitlines()[1:] if re.match(r"# (\[|\w+ =)", line))
    changed = parse(whole.encode())
    assert changed.target.timeouts == Target().timeouts
    assert "first_token" in whole
    assert tomllib.loads(whole)["regression"]["margin"] == 0.05
