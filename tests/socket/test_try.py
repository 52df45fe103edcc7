"""What `streamgauge try` leaves behind: exit codes, the saved config, the bytes, the JSON document."""

import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.harness.config.load import load
from tests.support.command import PATIENCE, try_, until
from tests.support.hostile import CHUNKED, LAST, Peer, asked, chunk, held, scripted
from tests.support.reference import ReferenceServer, reference_server

REPOSITORY = Path(__file__).parents[2]
SECRET = "sk-staging-0123456789"
QUICK = ("--preset", "exact", "--ttft", "5ms", "--itl", "2ms", "--tokens", "6")
OPENAI = ("--protocol", "openai_chat")
CHAT = b"""\
data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}

data: [DONE]

"""
STREAM = CHUNKED + chunk(CHAT) + LAST


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_config_that_worked_is_saved_and_works_again(server: ReferenceServer, folder: Path) -> None:
    options = (*OPENAI, "--model", "m-1", "--path", "/v1/messages", "--header", "x-api-key: ${KEY}")
    result = try_("--host", server.url, *options, "--save", "made.toml", KEY=SECRET)
    assert result.exit_code == 0
    made = (folder / "made.toml").read_text()
    assert SECRET not in made
    assert tomllib.loads(made)["target"] == {
        "protocol": "anthropic_messages",
        "model": "m-1",
        "headers": {"x-api-key": "${KEY}"},
    }
    assert try_("--host", server.url, "--config", "made.toml", KEY=SECRET).exit_code == 0
    assert load(folder / "made.toml").sla


def test_what_else_the_config_has_is_saved_with_it(server: ReferenceServer, folder: Path) -> None:
    (folder / "streamgauge.toml").write_text(
        '[target]\nmax_tokens = 7\n[target.body]\ntop_p = 1\n[target.timeouts]\nidle = "9s"\n[load]\nrate = 2.0\n'
        'arrivals = "poisson"\n[[sla]]\nrule = "p95(ttft) < 9s"\nwhere = { label = { a = "b" } }\nfor = "2s"\n'
    )
    assert try_("--host", server.url, "--save", "made.toml").exit_code == 0
    before, after = load(folder / "streamgauge.toml"), load(folder / "made.toml")
    assert (after.target, after.load, after.sla) == (before.target, before.load, before.sla)


def test_a_monitors_config_that_is_replaced_keeps_its_receivers(server: ReferenceServer, folder: Path) -> None:
    (folder / "streamgauge.toml").write_text(
        '[networks.slow]\nrtt = "9ms"\n[monitor]\nevery = "50s"\n'
        '[[monitor.target]]\nname = "eu"\nhost = "http://127.0.0.1:1"\nlabels = { "a.b" = "c" }\n'
        "[[monitor.maintenance]]\nbegins = 2026-12-01T22:00:00Z\nends = 2026-12-01T23:00:00Z\n"
        '[[monitor.maintenance]]\nday = "sun"\nat = "03:00"\nlasts = "1h"\ntargets = ["eu"]\n'
        '[[slo]]\nname = "fast"\ngood = ["ttft < 2s", "completed"]\nwhere = { label = { region = "eu" } }\n'
        '[[alert]]\nkind = "slack"\nurl = "${SLACK}"\n'
        '[[alert]]\nkind = "email"\nto = ["a@example.org"]\nfrom = "b@example.org"\nhost = "localhost"\n'
    )
    before = load(folder / "streamgauge.toml")
    assert try_("--host", server.url, "--save", "streamgauge.toml", "--force").exit_code == 0
    after = load(folder / "streamgauge.toml")
    for table in ("networks", "monitor", "slo", "alert"):
        assert getattr(after, table) == getattr(before, table)


def test_a_file_that_exists_is_replaced_only_by_force(server: ReferenceServer, folder: Path) -> None:
    (folder / "mine.toml").write_text("# mine\n")
    refused = try_("--host", server.url, "--save", "mine.toml")
    assert (refused.exit_code, refused.output) == (
        2,
        "streamgauge: mine.toml: exists already; give --force to replace it\n",
    )
    assert (folder / "mine.toml").read_text() == "# mine\n"
    assert try_("--host", server.url, "--save", "mine.toml", "--force").exit_code == 0
    assert "[target]" in (folder / "mine.toml").read_text()


def test_nothing_is_saved_if_no_answer_was_complete(folder: Path) -> None:
    with scripted(asked(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")) as other:
        result = try_("--host", other.url, "--save", "made.toml")
    assert result.exit_code == 1
    assert "made.toml: not written, because no answer was complete" in result.output
    assert list(folder.iterdir()) == []


def test_a_literal_secret_is_not_saved(folder: Path) -> None:
    header = ("--header", f"authorization: Bearer {SECRET}", "--save", "made.toml")
    with scripted(asked(STREAM)) as other:
        refused = try_("--host", other.url, *OPENAI, *header)
        assert (refused.exit_code, len(other.peers)) == (2, 0)
        assert "the header 'authorization' holds its value literally" in refused.output
        assert SECRET not in refused.output
        # The same, if the shell has filled in a variable that is still in the environment.
        assert try_("--host", other.url, *OPENAI, *header, STAGING_KEY=SECRET).exit_code == 0
    assert tomllib.loads((folder / "made.toml").read_text())["target"]["headers"] == {
        "authorization": "Bearer ${STAGING_KEY}"
    }


def test_the_bytes_are_kept_for_oneself_and_can_be_read_again(folder: Path) -> None:
    with scripted(asked(STREAM)) as other:
        assert try_("--host", other.url, *OPENAI, "--raw", "body.txt").exit_code == 0
        again = try_("--host", other.url, *OPENAI, "--raw", "body.txt")
        assert (again.exit_code, len(other.peers)) == (2, 1)
        assert "body.txt: exists already; give another path" in again.output
    assert (folder / "body.txt").read_bytes() == CHAT
    assert (folder / "body.txt").stat().st_mode & 0o777 == 0o600
    read = try_("--from", "body.txt", *OPENAI)
    assert read.exit_code == 0
    assert 'first token: text, stop reason  "Hello"' in read.output
    assert " ms" not in read.output.replace("ms  bytes", "")
    other_protocol = try_("--from", "body.txt")
    assert other_protocol.exit_code == 1
    assert 'protocol = "openai_chat"' in other_protocol.output


def test_the_document_has_what_the_screen_has(server: ReferenceServer) -> None:
    slow = "x-gauge-ttft: 300ms"  # a reader on a busy machine would get the headers and a quick answer in one read
    words = ("--path", "/nowhere", "--header", "x-api-key: ${KEY}", "--header", slow, "--json")
    result = try_("--host", server.url, *OPENAI, *words, KEY=SECRET)
    found = json.loads(result.output)
    assert (result.exit_code, found["completed"], found["helped"]) == (
        1,
        False,
        '[target]\npath = "/v1/chat/completions"\n',
    )
    first, second = found["tries"]
    assert (first["outcome"], first["status"], second["outcome"], second["status"]) == (
        "refused",
        404,
        "completed",
        200,
    )
    assert first["request"]["headers"]["x-api-key"] == "${KEY}"
    assert [event["taken_for"] for event in second["events"]][-2:] == ["usage", "end"]
    assert second["ms"]["headers"] < second["ms"]["first_content"] < second["ms"]["ended"]
    assert SECRET not in result.output


@pytest.mark.parametrize("client", ["wire", "httpx", "anthropic"])
def test_every_client_can_ask(server: ReferenceServer, client: str) -> None:
    result = try_("--host", server.url, "--client", client)
    assert "✓ COMPLETED" in result.output
    assert result.exit_code == 0


def test_every_event_is_shown_if_all_are_asked_for(server: ReferenceServer) -> None:
    folded, every = (try_("--host", server.url, *more).output for more in ((), ("--all",)))
    assert (folded.count("  text  "), every.count("  text  ")) == (1, 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --host URL, or --from FILE"),
        (["--host", "http://127.0.0.1:9", "--from", "x"], "give --host URL, or --from FILE"),
        (["--host", "staging.example"], "not a URL of a server"),
        (["--host", "http://127.0.0.1:9", "--header", "nonsense"], "write it as 'name: value'"),
        (["--host", "http://127.0.0.1:9", "--header", "x: ${NOT_THERE}"], "no variable 'NOT_THERE'"),
        (["--host", "http://127.0.0.1:9", "--protocol", "custom"], "needs [target.events]"),
        (["--host", "http://127.0.0.1:9", "--client", "anthropic", *OPENAI], "speaks only anthropic_messages"),
        (["--host", "http://127.0.0.1:9", "--config", "none.toml"], "no such config file"),
        (["--host", "http://127.0.0.1:9", "--raw", "no/where"], "there is no folder no"),
        (["--from", "none.txt"], "cannot be read"),
    ],
)
def test_a_mistake_in_the_call_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    result = try_(*words)
    assert result.exit_code == 2
    assert message in result.output


def test_a_server_is_asked_three_times_at_most() -> None:
    with scripted(asked(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")) as other:
        result = try_("--host", other.url)
        assert len(other.peers) == 3
    assert "Asked twice more, with lines that could help; none did" in result.output


def test_a_huge_answer_ends_at_the_limit() -> None:
    def flood(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        while True:
            peer.send(chunk(CHAT[: CHAT.index(b"\n\n") + 2] * 2_000))

    with scripted(flood) as other:
        result = try_("--host", other.url, *OPENAI)
    assert "✗ MALFORMED: the answer is longer than 8,000,000 bytes" in result.output
    assert len(result.output) < 6_000


def test_what_came_at_once_may_be_held_back_by_a_proxy_however_soon_it_came() -> None:
    events = b"".join(b'data: {"choices":[{"delta":{"content":"word %d"}}]}\n\n' % number for number in range(40))
    with scripted(asked(CHUNKED + chunk(events + CHAT) + LAST)) as other:
        result = try_("--host", other.url, *OPENAI)
    assert result.exit_code == 0
    assert "Unless this is a mock or a cached" in result.output
    assert "proxy_buffering off" in result.output


@pytest.mark.parametrize("characters", [20, 90])
def test_a_long_answer_in_one_event_is_told_as_not_streamed_and_a_short_one_is_not(characters: int) -> None:
    with scripted(asked(CHUNKED + chunk(CHAT.replace(b"Hello", b"a" * characters)) + LAST)) as other:
        result = try_("--host", other.url, *OPENAI)
    assert result.exit_code == 0
    said = f"The whole answer, {characters} characters, came in one event: the server does not stream it."
    assert (said in " ".join(result.output.split())) == (characters == 90)


def test_an_empty_answer_without_a_stop_reason_says_so_in_words() -> None:
    stream = CHUNKED + chunk(b"data: [DONE]\n\n") + LAST
    with scripted(asked(stream)) as other:
        result = try_("--host", other.url, "--protocol", "plain_sse")
    assert "brought nothing (no stop reason)" in " ".join(result.output.split())


def test_a_model_that_nobody_named_is_not_saved_as_if_somebody_had(folder: Path) -> None:
    named = CHAT.replace(b'{"choices"', b'{"model":"llama-3","choices"')
    with scripted(asked(CHUNKED + chunk(named) + LAST), asked(CHUNKED + chunk(named) + LAST)) as other:
        result = try_("--host", other.url, *OPENAI, "--save", "made.toml")
        assert result.exit_code == 0
        assert 'model = "llama-3"' in result.output
        saved = (folder / "made.toml").read_text()
        assert 'nobody named one, so that "reference" was asked for, and the server answered as "llama-3"' in saved
        assert "model" not in tomllib.loads(saved)["target"]
        result = try_("--host", other.url, *OPENAI, "--model", "llama-3", "--save", "named.toml")
    assert "No model was named" not in result.output
    assert load(folder / "named.toml").target.model == "llama-3"


def test_an_answer_of_keep_alives_is_said_to_be_none() -> None:
    with scripted(asked(CHUNKED + chunk(b": ping\n\n" * 2_000) + LAST)) as other:
        result = try_("--host", other.url, *OPENAI)
    assert result.exit_code == 1
    assert "Only keep-alives came" in result.output
    assert len(result.output) < 2_000


def _unread(peer: Peer) -> int:
    """How many bytes wait at the client's end of a connection for being read."""
    ends = [f"{port:04X}" for port in (peer.sock.getpeername()[1], peer.sock.getsockname()[1])]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if [local.rpartition(":")[2], remote.rpartition(":")[2]] == ends:
            return int(queues.rpartition(":")[2], 16)
    return 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells when a program has read what came")
def test_ctrl_c_shows_what_has_come(folder: Path) -> None:
    with scripted(held(CHUNKED + chunk(CHAT[: CHAT.index(b"\n\n") + 2]))) as other:
        command = [str(Path(sys.executable).parent / "streamgauge"), "try", "--host", other.url, *OPENAI]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: other.peers and other.peers[0].sent and not _unread(other.peers[0]))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert "? INTERRUPTED: you did not wait for the end; this is what came until then" in output
    assert "Hello" in output
