"""A run without a file: what to call is said by options, and the prompts are beside the scenario."""

import json
import threading
from pathlib import Path

from tests.support.command import enough, running, until, until_told
from tests.support.hostile import CHUNKED, LAST, Peer, chunk, scripted

SECRET = "sk-staging-0123456789"
ANSWER = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
SCENARIO = """
from streamgauge.scenario import StreamUser, constant, task

class Reader(StreamUser):
    prompts = "mine.jsonl"
    wait_time = constant(0.2)

    @task
    def ask(self):
        self.stream()
"""


def test_options_say_what_to_call_and_a_prompt_file_may_be_beside_the_scenario(tmp_path: Path) -> None:
    """Issue 17, 15."""
    requests: list[bytes] = []
    known = threading.Lock()

    def answer(peer: Peer) -> None:
        while request := peer.request():
            with known:
                requests.append(request)
            peer.send(CHUNKED + chunk(ANSWER) + LAST)

    (tmp_path / "own").mkdir()
    (tmp_path / "own/mine.py").write_text(until_told(SCENARIO))
    (tmp_path / "own/mine.jsonl").write_text('{"prompt": "Which river is it?"}')
    with scripted(answer) as server, running(
        "streamgauge", "run", "own/mine.py", "-H", server.url, "-u", 1, "--json", "run.json",
        "--protocol", "openai_chat", "--model", "m-1", "--path", "/chat", "--header", "x-tenant: a",
        "--header", "authorization: Bearer ${GAUGE_KEY}",
        cwd=tmp_path, GAUGE_KEY=SECRET,
    ) as run:  # fmt: skip
        until(lambda: len(requests) > 2)
        enough(tmp_path)
        ended = run.ended()
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["outcomes"].get("completed", 0) > 0, ended.stderr
    assert (document["run"]["fingerprint"]["protocol"], document["run"]["fingerprint"]["model"]) == (
        "openai_chat",
        "m-1",
    )
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /chat ")
    assert f"bearer {SECRET}".encode() in head.lower()
    assert b"x-tenant: a" in head.lower()
    assert json.loads(body)["model"] == "m-1"
    assert json.loads(body)["messages"][-1]["content"] == "Which river is it?"
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file())
    assert SECRET not in stored.decode("latin-1") + ended.stdout + ended.stderr
