"""The monitor's pages over HTTP: what they show, who may read them, and how quick they are on a month's database."""

import base64
import json
import math
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from streamgauge.harness.commands.status import command as status_command
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.judge.measure.histogram import placed
from streamgauge.harness.monitor.address import TOKEN, parse
from streamgauge.harness.monitor.exposition.page import Page
from streamgauge.harness.monitor.levels import labels_of
from streamgauge.harness.monitor.status import Reader
from streamgauge.harness.monitor.web.app import Served, app
from streamgauge.reports import status_page
from tests.support import patient
from tests.support.command import PATIENCE, free_port
from tests.support.monitored import CONFIG, START, Monitored, with_an_outage

_SECRET = "a-token-of-more-than-16-characters"


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    return with_an_outage(tmp_path_factory.mktemp("served") / "monitor.db")


@pytest.fixture(scope="module")
def served(monitored: Monitored) -> Iterator[str]:
    """The URL of a real process."""
    config = monitored.path.with_name("streamgauge.toml")
    config.write_text(CONFIG)
    port = free_port()
    command = [sys.executable, "-m", "streamgauge.harness.monitor.web", str(config), str(monitored.path), f":{port}"]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(httpx.ConnectError):
            httpx.get(url, timeout=PATIENCE)
            return
        time.sleep(0.05)
    raise AssertionError("it does not listen")


def test_a_process_serves_the_page_the_metrics_and_its_health_to_this_machine_only(
    served: str, monitored: Monitored
) -> None:
    page = httpx.get(served, timeout=PATIENCE)
    assert page.status_code == 200
    assert "first token" in page.text
    assert "not watching" in page.text, "its judge has not judged for years"
    assert 'id="stream=' in page.text, "the streams behind the incident are drawn"
    assert page.headers["x-frame-options"] == "DENY"
    assert patient.get(f"{served}/incidents/1").status_code == 200
    assert patient.get(f"{served}/incidents/999").status_code == 404
    metrics = patient.get(f"{served}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'streamgauge_slo_bad_probes_total{slo="first token",target="eu"} 20.0' in metrics.text
    health = patient.get(f"{served}/healthz")
    assert (health.status_code, health.json()["state"]) == (200, "starting")
    assert patient.get(served, headers={"host": "evil.example"}).status_code == 403, "DNS rebinding"
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert patient.request(method, served).status_code == 405
    monitored.probes([400], first=141)
    text = patient.get(f"{served}/metrics").text
    assert 'streamgauge_probes_total{outcome="completed",target="eu"} 1.0' in text, "it counts what is new"


def client(monitored: Monitored, token: str | None) -> TestClient:
    targets = {target.name: labels_of(target) for target in monitored.config.monitor.target}
    made = Served(Reader(monitored.store), Page(monitored.store, targets), status_page.render, 60.0, token)
    return TestClient(app(made), base_url="http://status.example")


def test_an_exposed_page_needs_the_token(monitored: Monitored) -> None:
    asked = client(monitored, _SECRET)
    assert asked.get("/healthz").status_code == 200, "health needs no token"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic !"}, {"authorization": _SECRET}):
        refused = asked.get("/metrics", headers=headers)
        assert refused.status_code == 401
        assert "streamgauge_" not in refused.text
    basic = base64.b64encode(f"me:{_SECRET}".encode()).decode()
    for good in (f"Bearer {_SECRET}", f"Basic {basic}"):
        assert asked.get("/metrics", headers={"authorization": good}).status_code == 200


def test_an_address_is_this_machine_only_unless_there_is_a_token() -> None:
    assert parse(":9464", None) == ("127.0.0.1", 9464)
    assert parse("localhost:1", None).port == 1
    assert parse("[::1]:9464", None).host == "::1"
    assert parse("0.0.0.0:9464", _SECRET).exposed
    for written, token in (("0.0.0.0:9464", None), ("[::]:9464", None), ("10.1.2.3:80", None), ("gauge:80", None)):
        with pytest.raises(ConfigError, match=TOKEN):
            parse(written, token)
    for written in ("9464", "a:b", ":99999", "http://x:1", ""):
        with pytest.raises(ConfigError, match="HOST:PORT"):
            parse(written, None)
    with pytest.raises(ConfigError, match="fewer than 16"):
        parse(":9464", "short")


def test_status_writes_the_same_page_as_a_file(monitored: Monitored, tmp_path: Path) -> None:
    done = CliRunner().invoke(status_command, [str(monitored.path), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text()
    assert "Service levels" in page
    assert "default-src 'none'" in page


@pytest.mark.timing
def test_a_month_of_a_probe_a_second_is_shown_within_200_ms(tmp_path: Path) -> None:
    made = Monitored(tmp_path / "month.db")
    _fill_month(made)
    targets = {target.name: labels_of(target) for target in made.config.monitor.target}
    reader, page = Reader(made.store), Page(made.store, targets)
    status_page.render(reader.read())  # days that are over are read once
    for name, ask in {"page": lambda: status_page.render(reader.read()), "metrics": page.text}.items():
        took = min(_seconds(ask) for _ in range(3))
        assert took < 0.2, f"{name}: {took * 1e3:.0f} ms"


def _seconds(ask: Callable[[], object]) -> float:
    """Of a core: that is all that it takes, and a busy machine adds nothing to it."""
    began = time.thread_time()
    ask()
    return time.thread_time() - began


def _fill_month(made: Monitored) -> None:
    """The tables that the pages read, as 30 days of a probe a second leave them. Single streams are not read."""
    minute, days = START // 60, 30
    ticks = np.random.default_rng(1).lognormal(math.log(4e8), 0.4, 3_600).astype(np.int64)
    bins = {"bins": Counter(placed(ticks).tolist()), "failed": 3}
    samples = json.dumps(dict.fromkeys(("ttft", "itl", "e2e"), bins))
    labels = [
        json.dumps({"prompt": prompt, "connection": each}) for prompt in ("short", "long") for each in ("cold", "warm")
    ]
    with made.store.transaction() as connection:
        connection.execute("DELETE FROM monitor_counts")
        connection.executemany(
            "INSERT OR REPLACE INTO monitor_hours VALUES ('eu', ?, ?, ?, ?, ?)",
            [
                (START // 3_600 - hour, label, '{"completed": 897, "timed_out": 3}', 45_000, samples)
                for hour in range(days * 24) for label in labels
            ],
        )  # fmt: skip
        series = [number for (number,) in connection.execute("SELECT id FROM monitor_series")]
        fine = [*range(minute - days * 1_440, minute - 5_760, 60), *range(minute - 5_760, minute)]
        rows = [(each, at, (at - fine[0]) * 60, (at - fine[0]) // 2) for each in series for at in fine]
        connection.executemany("INSERT INTO monitor_counts VALUES (?, ?, ?, ?)", rows)
        connection.execute(
            "INSERT OR REPLACE INTO monitor_state VALUES ('evaluated', ?), ('judged_at', ?)", (minute - 1, START)
        )


def test_connections_that_send_nothing_keep_nobody_out(served: str) -> None:
    address = ("127.0.0.1", int(served.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection(address, PATIENCE))
        for _ in range(3):
            assert httpx.get(f"{served}/metrics", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("host", ["evil_name.example", "127.0.0.1@evil.example", "[", "a b", "127.0.0.1.evil.example"])
def test_a_page_of_another_site_reads_nothing(served: str, host: str) -> None:
    assert httpx.get(served, headers={"host": host}, timeout=PATIENCE).status_code == 403


@pytest.mark.parametrize("number", ["9" * 5_000, "9" * 20, "x", "-1"])
def test_a_number_that_no_incident_has_is_not_found(served: str, number: str) -> None:
    assert httpx.get(f"{served}/incidents/{number}", timeout=PATIENCE).status_code == 404
    assert httpx.get(f"{served}/incidents/1", timeout=PATIENCE).status_code == 200


def test_a_request_without_end_is_cut_off(served: str) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(served, headers={"x": "y" * 200_000}, timeout=PATIENCE)
