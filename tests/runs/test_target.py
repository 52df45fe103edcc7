"""The server's metrics page, sampled during a run: the tokens generated for people who had left, and bad pages."""

import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.record.clock import RunClock
from tests.support.busy import waited_for_a_core
from tests.support.command import PATIENCE, command, processes, rows
from tests.support.hostile import UNTIL_CLOSED, Peer, Script, asked, held, scripted
from tests.support.reference import counts, reference_server

pytestmark = pytest.mark.usefixtures("before_others")

SECOND = 1_000_000_000
ANSWERS = ("--preset", "exact", "--ttft", "50ms", "--itl", "10ms", "--tokens", "250")
PEOPLE = """
import gevent
from streamgauge.scenario import StreamUser, between, task

class Leaver(StreamUser):
    abstract = True
    wait_time = between(0, 0.05)
    left = 0

    @task
    def ask(self):
        seen = self.stream()
        Leaver.left += seen.outcome == "cancelled"
        if Leaver.left == {leaves}:
            gevent.spawn(self.environment.runner.quit)  # a user that stops all users would stop itself first

class Stopper(Leaver):
    weight = 3
    behaviour = "stop_button"

class TabCloser(Leaver):
    behaviour = "closed_tab"

class Killed(Leaver):
    behaviour = "killed_app"
"""
CONFIG = """
[target]
max_tokens = 10_000
[target.metrics]
url = "{url}"
[[sla]]
rule = "wasted_tokens < 2000"
[[sla]]
rule = "time_to_stop < 1s"
"""


def run(
    folder: Path, host: str, *words: object, leaves: int = 0, url: str = "/metrics", **environment: str
) -> dict[str, Any]:
    """A real run of PEOPLE, which ends after so many leaves if that is not 0, and its result document."""
    (folder / "people.py").write_text(PEOPLE.format(leaves=leaves or -1))
    (folder / "run.toml").write_text(CONFIG.format(url=url))
    ended = command(
        "streamgauge", "run", "people.py", "--host", host, "--config", "run.toml", "--db", "run.db",
        "--json", "run.json", *words,
        cwd=folder, **environment,
    )  # fmt: skip
    assert ended.returncode in {0, 1, 3}, ended.stderr
    document: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return document


# What people who leave cost the server


def test_after_500_leaves_every_generation_has_stopped_within_a_second(tmp_path: Path) -> None:
    with reference_server(*ANSWERS, "--itl", "20ms", "--tokens", "10000") as server:  # nobody stays that long
        found = run(tmp_path, server.url, "--users", 60, "--spawn-rate", 60, leaves=500)
        assert server.active() == 0
        withheld = waited_for_a_core(server.process.pid)
        answers = {row["id"]: row for row in server.truth()}
        wasted = counts(server.url)["reference_tokens_wasted_total"]
    # A generator that stands still leaves late, and a server without a core notices it late.
    ((stood_still,),) = rows(tmp_path / "run.db", "SELECT max(value) FROM samples WHERE name = 'loop_lag_ms'")
    withheld += stood_still * 1_000_000
    (zero,) = rows(tmp_path / "run.db", "SELECT realtime_ns FROM runs")[0]
    clock = RunClock.starting_at(zero)
    left = rows(tmp_path / "run.db", "SELECT behaviour, request_id, ended_at FROM streams WHERE outcome = 'cancelled'")
    assert len(left) >= 500
    assert {behaviour for behaviour, _, _ in left} == {"stop_button", "closed_tab", "killed_app"}
    for _, request, ended_at in left:
        if request:  # none if they left between the server's first byte and our first read
            stopped_after = clock.from_monotonic(answers[request]["ended_at"]) - ended_at
            assert stopped_after < SECOND + withheld
            assert answers[request]["outcome"] == "disconnected"
    to_stop, in_vain = (found["metrics"][name]["value"] for name in ("time_to_stop", "wasted_tokens"))
    assert to_stop < 1_000 + withheld / 1e6
    statuses = [verdict["status"] for verdict in found["verdicts"]]
    kept = [in_vain < 2_000, to_stop < 1_000]
    assert statuses == ["met" if each else "missed" for each in kept], found["verdicts"]
    # What was on its way when they left was received by nobody: a token or two of each stream, or what was sent before
    # the generator left.
    most = 2 + withheld / (SECOND / 50)
    assert wasted <= in_vain <= wasted + most * found["metrics"]["wasted_tokens"]["n"]


def test_the_waste_of_a_server_that_ignores_disconnects_is_what_it_counts_itself(tmp_path: Path) -> None:
    with reference_server(*ANSWERS, "--fault", "deaf") as server:
        found = run(
            tmp_path, server.url, "--users", 24, "--spawn-rate", 24, "--run-time", "7s", "--", *processes(2)
        )  # fmt: skip
        assert server.active() == 0, "sampling went on until it was idle"
        own = counts(server.url)
    wasted, generated = own["reference_tokens_wasted_total"], own["reference_tokens_generated_total"]
    assert wasted > max(2_000, generated / 2), "people leave early in an answer"
    assert found["metrics"]["wasted_tokens"]["value"] == pytest.approx(wasted, rel=0.02)
    assert rows(tmp_path / "run.db", "SELECT max(value) FROM samples WHERE name = 'server_generated'") == [(generated,)]
    assert rows(tmp_path / "run.db", "SELECT DISTINCT worker FROM samples WHERE name LIKE 'server_%'") == [("target",)]
    # An answer takes 2.55 s. The last person to leave had received up to 60 of its chunks, or 1.5 s of it.
    assert 900 < found["metrics"]["time_to_stop"]["value"] < 4_000
    assert [verdict["status"] for verdict in found["verdicts"]] == ["missed", "missed"]


# Bad pages

PAGE = b"""# HELP reference_streams_active Answers.
reference_streams_active{model="a"} 2
reference_streams_active{model="b}\\"x"} 1 1700000000
reference_tokens_generated_total 1.5e3
"""
WATCH = """
from gevent import monkey
monkey.patch_all()
import json, sys
from gevent.pool import Pool
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.secrets import filled_metrics
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.drive.server_metrics import ServerWatch

def watch(host):
    target = parse(b"[target.metrics]\\nurl = '/metrics?key=hidden'").target
    samples = []
    return ServerWatch(target, filled_metrics(target), host, RunClock(0, 0), samples.extend), samples

def watched(watch, samples):
    watch.start()
    notes = watch.finish(0)
    return [(sample.vital, sample.value) for sample in samples], notes

watches = [watch(host) for host in sys.argv[1:]]  # before any starts: making a TLS context delays all
# Few at a time, so that on a busy machine, too, the servers answer within their second.
print(json.dumps(Pool(3).map(lambda each: watched(*each), watches)))
"""


def page(text: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Script:
    return asked(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(text), text))


def endless(peer: Peer) -> None:
    peer.request()
    peer.send(UNTIL_CLOSED)
    while True:
        peer.send(b"# nothing\n" * 1_000)


def dripping(peer: Peer) -> None:
    peer.request()
    peer.send(UNTIL_CLOSED)
    peer.sock.settimeout(0.05)
    gone = False
    while not gone:
        peer.send(b"#")
        with contextlib.suppress(TimeoutError):
            gone = peer.sock.recv(1) == b""


BOTH = "how soon the server stopped and how much it generated for nobody is not known: "
WHERE = "/metrics?… did not report it before or after the streams "
SAID: dict[str, tuple[Script, dict[str, float], str]] = {  # page → what is read from it, and the run's note
    "good": (page(PAGE), {"server_active": 3, "server_generated": 1_500}, ""),
    "of an unknown status": (page(PAGE, b"HTTP/1.1 503 Sorry\r\n"), {}, f"{BOTH}{WHERE}(HTTP 503)"),
    "elsewhere": (page(b"", b"HTTP/1.1 307 There\r\nlocation: /there\r\n"), {}, f"{BOTH}{WHERE}(HTTP 307)"),
    "silent": (held(), {}, f"{BOTH}{WHERE}(no answer within 1 s)"),
    "held": (held(UNTIL_CLOSED + PAGE), {}, f"{BOTH}{WHERE}(no answer within 1 s)"),
    "dripping": (dripping, {}, f"{BOTH}{WHERE}(no answer within 1 s)"),
    "endless": (endless, {}, f"{BOTH}{WHERE}(the page is larger than 1 MiB)"),
    "compressed": (
        page(PAGE, b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n"), {},
        f"{BOTH}{WHERE}(the page is compressed, which was not asked for)",
    ),
    "no HTTP": (
        asked(b"<html>hidden</html>\r\n\r\n"), {}, f"{BOTH}{WHERE}(the connection broke, or the answer is not HTTP)"
    ),
    "cut": (
        asked(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n" + PAGE), {},
        f"{BOTH}{WHERE}(the connection broke, or the answer is not HTTP)",
    ),
    "of something else": (
        page(b"<html>reference_streams_active</html>"), {},
        f"{BOTH}{WHERE}(the page has no reference_streams_active and no reference_tokens_generated_total)",
    ),
    "of half of it": (
        page(b"reference_tokens_generated_total 5"), {"server_generated": 5},
        f"how soon the server stopped is not known: {WHERE}(the page has no reference_streams_active)",
    ),
    "not of numbers": (
        page(b"reference_streams_active NaN\nreference_tokens_generated_total many"), {},
        f"{BOTH}{WHERE}(the page has no reference_streams_active and no reference_tokens_generated_total)",
    ),
}  # fmt: skip


def test_a_bad_metrics_page_does_not_stop_the_run_which_notes_what_is_unknown() -> None:
    with contextlib.ExitStack() as servers:
        hosts = [servers.enter_context(scripted(script)).url for script, _, _ in SAID.values()]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            hosts.append(f"http://127.0.0.1:{taken.getsockname()[1]}")
        ended = subprocess.run(
            [sys.executable, "-c", WATCH, *hosts], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert ended.returncode == 0, ended.stderr
    *watched, (nothing, notes) = json.loads(ended.stdout)
    for (kind, (_, figures, note)), (samples, said) in zip(SAID.items(), watched, strict=True):
        assert dict(samples) == figures, kind
        before = 2 if figures.get("server_active") else 1  # a busy server is sampled a second time
        assert len(samples) == (before + 1) * len(figures), f"{kind}: once after the streams"
        assert said == ([note] if note else []), kind
    assert (nothing, notes) == ([], [f"{BOTH}{WHERE}([Errno 111] Connection refused)"])


def test_rules_about_a_server_without_a_readable_page_are_inconclusive_and_other_rules_are_judged(
    tmp_path: Path,
) -> None:
    with reference_server(*ANSWERS) as server:
        url = "https://me:${WORD}@127.0.0.1:1/metrics"
        found = run(
            tmp_path,
            server.url,
            "--users",
            5,
            "--spawn-rate",
            5,
            "--run-time",
            "60s",
            leaves=3,
            url=url,
            WORD="of-nobody",
        )
    assert found["outcomes"]["cancelled"] > 0
    assert [rule["status"] for rule in found["verdicts"]] == ["inconclusive", "inconclusive"]
    (note,) = [reason for reason in found["validity"]["reasons"] if "/metrics" in reason]
    assert "is not known: https://…@127.0.0.1:1/metrics did not report it" in note
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert b"of-nobody" not in file.read_bytes(), file
