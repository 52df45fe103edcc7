"""A run whose users have keys of their own and whose conversations repeat the server's answers, in two processes."""

import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.command import enough, processes, rows, running, until, until_told

SCENARIO = """
from streamgauge.scenario import StreamUser, between, task

class Talker(StreamUser):
    wait_time = between(0, 0.05)

    @task
    def talk(self):
        for question in self.conversation((3, 3)):
            self.stream(question)
"""
CONFIG = """
[target]
protocol = "openai_chat"
history = "real"
headers = { authorization = "Bearer ${credential.key}" }

[target.body.metadata]
tenant = "${credential.tenant}"

[target.request]
query = { user = "{user}", conversation = "{conversation}" }

[target.credentials]
file = "keys.jsonl"
"""
KEYS = [{"key": f"sk-secret-{number}", "tenant": f"tenant-{number}"} for number in range(4)]


class _Handler(BaseHTTPRequestHandler):
    """Answers each question with a text of its own, and keeps what was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = type(self).asked
        asked.append({"path": self.path, "key": self.headers["authorization"], "body": body})
        words = [f"answer {len(asked)}", " in two pieces"]
        events: list[Any] = [{"choices": [{"delta": {"content": word}}]} for word in words]
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *_: object) -> None:
        pass


def _is_third(asked: dict[str, Any]) -> bool:
    """Whether it is the last question of a conversation."""
    return len(asked["body"]["messages"]) == 5


def test_users_have_keys_of_their_own_and_conversations_repeat_what_the_server_said(tmp_path: Path) -> None:
    (tmp_path / "talkers.py").write_text(until_told(SCENARIO))
    (tmp_path / "run.toml").write_text(CONFIG)
    (tmp_path / "keys.jsonl").write_text("\n".join(map(json.dumps, KEYS)))
    asked: list[dict[str, Any]] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with running(
            "locust", "-f", "talkers.py", "--headless", "-u", 4, "-r", 4,
            "-H", f"http://127.0.0.1:{server.server_port}", "--gauge-config", "run.toml", "--gauge-db", "run.db",
            *processes(2), cwd=tmp_path,
        ) as run:  # fmt: skip
            until(lambda: len({each["key"] for each in asked}) == 4 and any(_is_third(each) for each in asked))
            enough(tmp_path)
            ended = run.ended()
    finally:
        server.shutdown()
        server.server_close()
    assert ended.returncode == 3, ended.stdout + ended.stderr  # there are no rules
    # Four users in two processes, each with a key of their own.
    dealt = {(each["key"], each["body"]["metadata"]["tenant"]) for each in asked}
    assert dealt == {(f"Bearer {key['key']}", key["tenant"]) for key in KEYS}
    conversations = defaultdict(list)
    for each in asked:
        conversations[each["path"]].append(each["body"]["messages"])
    assert len({each["key"] for each in asked}) == len({path.partition("&")[0] for path in conversations}) == 4
    longest = [turns for turns in conversations.values() if len(turns) == 3]
    assert longest
    for turns in longest:
        assert [len(messages) for messages in turns] == [1, 3, 5]
        answers = [message["content"] for message in turns[-1] if message["role"] == "assistant"]
        assert all(answer.startswith("answer ") and answer.endswith(" in two pieces") for answer in answers)
        assert turns[0] == turns[1][:1]
        assert turns[1] == turns[2][:3]
    stored = (tmp_path / "run.db").read_bytes()
    assert b"sk-secret" not in stored
    assert b"in two pieces" not in stored
    assert "sk-secret" not in ended.stdout + ended.stderr
    (fingerprint,) = rows(tmp_path / "run.db", "SELECT fingerprint FROM runs")
    assert json.loads(fingerprint[0])["body"] == {"metadata": {"tenant": "${credential.tenant}"}}
