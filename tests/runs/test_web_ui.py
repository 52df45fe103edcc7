"""Locust's web UI with runs of ours: what it starts, what it may change, and from whom it takes requests."""

import contextlib
import csv
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.command import (
    PATIENCE,
    REPOSITORY,
    RULES,
    Running,
    count,
    free_port,
    processes,
    rows,
    running,
    until,
)
from tests.support.reference import ReferenceServer

KEY = "a-key-that-nobody-else-may-have"
BRIEF = RULES.replace("max_tokens = 30", "max_tokens = 3")
WITH_A_KEY = BRIEF.replace("[target]", '[target]\nheaders = { authorization = "Bearer ${KEY}" }')
CHAT = REPOSITORY / "scenarios/chat.py"
LOAD = {"user_count": "3", "spawn_rate": "3"}


@dataclass(frozen=True)
class UI:
    """A Locust with its web UI, which has its database in `folder`."""

    client: httpx.Client
    process: Running
    folder: Path

    def streams(self) -> int:
        return count(self.folder / "run.db", "streams")

    def swarm(self, origin: str | None = None, **form: str) -> httpx.Response:
        return self.client.post("/swarm", data={**LOAD, **form}, headers={"origin": origin} if origin else {})

    def two_runs(self, **form: str) -> None:
        for _ in range(2):
            before = self.streams()
            assert self.swarm(str(self.client.base_url).rstrip("/"), **form).json()["success"]
            until(lambda before=before: self.streams() > before)
            assert self.client.post("/stop").json()["success"]

    def shows_streams(self) -> None:
        """The tab, after a run."""
        assert '"key": "streams", "title": "Streams"' in self.client.get("/").text
        until(lambda: "Outcome completed" in self.tab())  # Locust keeps an answer for some seconds
        rows = self.tab()
        (ttft,) = [row for what, row in rows.items() if what.startswith("TTFT, last ")]
        assert ttft["p50"].endswith(" ms")
        (rule,) = [row for what, row in rows.items() if what.startswith("Rule max(ttft) < 20s, last ")]
        assert rule["state"] == "within the limit"
        assert "Generator" in rows

    def counts_streams(self) -> None:
        """The entries in Locust's statistics, after a run without workers: theirs come when Locust sends them."""
        table = csv.DictReader(self.client.get("/stats/requests/csv").text.splitlines())
        counts = {row["Name"]: int(row["Request Count"]) for row in table}
        assert counts["Aggregated"] == counts["Reader TTFT"], "ITL and E2E are in no total"
        assert 0 < counts["Reader E2E"] <= counts["Reader TTFT"] < counts["Reader ITL"]

    def tab(self) -> dict[str, dict[str, str]]:
        stats = self.client.get("/stats/requests").json()["extended_stats"]
        (ours,) = [each["data"] for each in stats if each["key"] == "streams"]
        return {row["what"]: row for row in ours}

    def end(self) -> str:
        """Returns what it said. Not by SIGINT: the command leaves that to Locust, which has it from the terminal."""
        self.process.terminate()
        return self.process.communicate()[1]


@contextlib.contextmanager
def web_ui(words: Sequence[object], port: int, folder: Path, **environment: str) -> Iterator[UI]:
    base = f"http://127.0.0.1:{port}"
    with (
        running(*words, cwd=folder, **environment) as process,
        httpx.Client(base_url=base, trust_env=False, timeout=PATIENCE) as client,
    ):
        until(lambda: answers(client))
        yield UI(client, process, folder)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def test_the_ui_of_the_command_keeps_options_and_the_key_as_they_were(server: ReferenceServer, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(WITH_A_KEY)
    (tmp_path / "mine.html").write_text("mine")
    port = free_port()
    command = [
        "streamgauge", "run", "chat", "--web", "--host", server.url, "--config", "rules.toml", "--db", "run.db",
        "--report", "run.html", "--", "--web-port", port,
    ]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, web_ui(command, port, tmp_path, KEY=KEY) as ui:
        listens_only_here(port)
        refuses_other_sites(ui)
        foreign = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        for form, reason in (
            ({"host": foreign}, f"host '{foreign}' is refused: the config's secrets are sent only to the host that"),
            ({"gauge_db": "other.db", "gauge_report": "mine.html"}, "gauge_db, gauge_report: fixed when the process"),
            ({"html_file": "mine.html", "json_file": "mine.html"}, "html_file, json_file: fixed when the process"),
        ):
            refused = ui.swarm(**form).json()
            assert not refused["success"]
            assert refused["message"].startswith(reason)
        changed = ui.client.post("/user", json={"user_class_name": "Reader", "client": "httpx"}).json()
        assert changed["message"].startswith("client: fixed when the process was started")
        changed = ui.client.post("/user", json={"user_class_name": "Reader", "host": foreign}).json()
        assert "is refused" in changed["message"]
        ui.two_runs(host=server.url)
        ui.shows_streams()
        ui.counts_streams()
        until((tmp_path / "run.html").exists)
        said = ui.end()
        elsewhere.settimeout(0)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert "Traceback" not in said
    assert f"streamgauge: Locust's web UI is at http://127.0.0.1:{port}\n" in said
    assert f"streamgauge: web UI: host '{foreign}' is refused" in said
    assert "is open to" not in said
    assert KEY not in said
    assert rows(tmp_path / "run.db", "SELECT status, host FROM runs") == [("finished", server.url)] * 2
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert not (tmp_path / "other.db").exists()


def test_the_ui_of_a_master_warns_and_chooses_the_host_if_there_is_no_secret(
    server: ReferenceServer, tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text(BRIEF)
    port = free_port()
    command = [
        "locust", "-f", CHAT, "--web-port", port, "--web-host-display-name", "https://load.example",
        "--gauge-config", "rules.toml", "--gauge-db", "run.db", *processes(1),
    ]  # fmt: skip
    with web_ui(command, port, tmp_path) as ui:
        refuses_other_sites(ui)
        named = {"host": "load.example", "origin": "https://load.example"}  # a proxy on this machine passes them on
        assert ui.client.get("/stats/requests", headers=named).status_code == 200
        until(lambda: ui.client.get("/worker-count").json()["worker_count"] == 1)
        assert "host 'nonsense': not a URL of a server" in ui.swarm(host="nonsense").json()["message"]
        ui.two_runs(host=server.url)
        ui.shows_streams()
        said = ui.end()
    assert "Traceback" not in said
    assert f"Locust's web UI on http://*:{port} is open to everybody who can reach this machine" in said
    assert rows(tmp_path / "run.db", "SELECT status, host FROM runs") == [("finished", server.url)] * 2


def listens_only_here(port: int) -> None:
    own = [str(address[4][0]) for address in socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)]
    for address in [own for own in own if not own.startswith("127.") and own != "::1"]:
        with pytest.raises(OSError), socket.create_connection((address, port), timeout=5):  # noqa: PT011 - refused
            pass


def refuses_other_sites(ui: UI) -> None:
    """Requests that a page of another site can send start nothing, and what they read says nothing."""
    base = str(ui.client.base_url).rstrip("/")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"{base}@evil.example", f"{base}.evil.example"):
        for method, path in (("POST", "/swarm"), ("POST", "/stop"), ("POST", "/user"), ("OPTIONS", "/swarm")):
            assert ui.client.request(method, path, data=LOAD, headers={"origin": origin}).status_code == 403
        assert ui.client.get("/stats/requests", headers={"origin": origin}).status_code == 403
    for host in ("evil.example", f"evil.example:{ui.client.base_url.port}", "127.0.0.1.evil.example"):
        same = {"host": host, "origin": f"http://{host}"}  # a page whose name leads to this machine
        assert ui.client.get("/", headers={"host": host}).status_code == 403
        assert ui.client.post("/swarm", data=LOAD, headers=same).status_code == 403
    page = ui.client.get("/", headers={"host": f"localhost:{ui.client.base_url.port}"})
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    assert ui.client.get("/stats/requests", headers={"origin": base}).json()["state"] == "ready"
