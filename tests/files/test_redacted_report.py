"""A redacted page says the same whatever the confidential values are: so it cannot tell them."""

import re
import sqlite3
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Store, beside, redact
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import page
from streamgauge.reports.material import gather
from streamgauge.reports.panel import Panel
from tests.support.command import invoke
from tests.support.record import MS, a_run, new_store, observation


class Secrets(NamedTuple):
    """Of one run. Equal for two runs where they are alike: which labels and workers are the same, and what is HTTPS."""

    host: str = "api.acme.example:8443"
    phases: tuple[str, str] = ("before the merger", "after")
    workers: tuple[str, str] = ("build-7.acme.example_1", "w2")
    machine: str = "build-7.acme.example"
    detail: str = "acme: tenant 4711 is over its quota"
    request_id: str = "req_4711"
    model: str = "acme-secret-7b"
    servers: tuple[str, str] = ("10.4711.0.7", "pod-acme-7")


def streams(secrets: Secrets) -> list[StreamObservation]:
    found = []
    for number in range(24):
        labels = {"phase": secrets.phases[number % 2], "tenant": secrets.phases[0]}
        named: dict[str, Any] = {
            "labels": labels,
            "worker": secrets.workers[number % 2],
            "request_id": secrets.request_id,
            "address": secrets.servers[0],
            "replica": secrets.servers[number % 2],
        }
        at = 100 + 400 * (number % 2) + number
        found.append(observation([("text", at), ("text", at + 400), ("text", at + 900)], due=number * 200, **named))
    for status, outcome in ((429, Outcome.REFUSED), (None, Outcome.RESET), (200, Outcome.SERVER_ERROR)):
        failed: dict[str, Any] = {
            "http_status": status,
            "outcome": outcome,
            "detail": secrets.detail,
            "stop_reason": secrets.detail,
        }
        found.append(observation([], due=5_000, ended=50, resumed_from=secrets.request_id, **failed))
    return found


def write(path: Path, secrets: Secrets, user: str = "Reader") -> Path:
    """A run in which every secret is at every place that can hold it."""
    quoting = f"worker {secrets.workers[0]} of {secrets.host}: {secrets.detail}"
    rules = [
        Sla(rule="p95(ttft) < 300ms"),
        Sla(rule="p95(ttft) < 300ms", where=Where(label={"phase": secrets.phases[0]})),
        Sla(rule="p95(ttft) < 300ms", where=Where(label={"phase": secrets.phases[1]}), severity="warn"),
    ]
    instrument = {
        "stamps": "kernel", "platform": secrets.machine, "certificate": {"machine": secrets.machine}, "streams": 27,
        "workers": {name: {"host": secrets.machine, "pid": 7, "reader": "compiled"} for name in secrets.workers},
        "faults": [quoting], "mistakes": [quoting], "unsaved": quoting, "aborted": quoting,
    }  # fmt: skip
    config = {
        "model": secrets.model, "path": f"/{secrets.model}", "metrics": {"url": f"https://{secrets.host}/metrics"},
        "headers": {secrets.model: "…"}, "body": {secrets.model: 1}, "end": secrets.model, "max_tokens": 9,
        "credentials": {"file": secrets.model}, "timeouts": {"idle": "30s"}, "omit": [secrets.model],
    }  # fmt: skip
    run = a_run(
        host=f"https://{secrets.host}", labels={"commit": secrets.request_id, "branch": secrets.phases[0]}, rules=rules,
        config=config, instrument=instrument, notes=[quoting],
        fingerprint={"model": secrets.model, "body": {secrets.model: 1}, "load": secrets.model, "scenario": "chat"},
    )  # fmt: skip
    path.unlink(missing_ok=True)
    with new_store(path) as store:
        store.start_run(run)
        samples = [(name, second * 10**9, "cpu_percent", 9.0) for second in range(6) for name in secrets.workers]
        store.append(run.id, [*streams(secrets), observation(user=user, due=5_500)], samples)
        ended = {"status": "aborted", "instrument": run.instrument, "notes": run.notes}
        store.finish_run(run.id, ended_ns=10_000 * MS, **ended)  # type: ignore[arg-type]
    return path


def test_a_large_run_is_not_read_by_a_process_that_would_see_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "one.db", Secrets())
    monkeypatch.setattr(beside, "FEWEST_BESIDE", 1)
    monkeypatch.setattr(beside, "streams_beside", lambda *_: pytest.fail("another process has no redacted views"))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert "merger" not in told(redacted(path))


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The redacted page of a run with ordinary secrets."""
    return redacted(write(tmp_path_factory.mktemp("ordinary") / "one.db", Secrets()))


def redacted(path: Path) -> str:
    with Store.open(path) as store:
        aliases = redact(store)
        return page.render_redacted(gather(store), aliases)


def told(html: str) -> str:
    """All that the page says, without our own scripts and styles."""
    text = unescape(re.sub(r"<(style|script)>.*?</\1>|<script type=\"text/plain\".*?</script>", "", html, flags=re.S))
    return text.encode().decode("utf-8").replace("\\u003c", "<").replace("\\u0026", "&").lower()


_WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", "p95", "Reader", "phase 2", "redacted", "worker 1", "chat", "\x00\u202e", "' OR 1=1"]
)
_TWO = st.lists(_WORDS, min_size=2, max_size=2, unique=True).map(tuple)
_HOSTS = st.sampled_from(["10.0.0.1:1", "localhost:9", "a.b", "user:pw@x.example", "[::1]:9", "acme.example/v1?k=1"])


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.builds(
        Secrets,
        host=_HOSTS,
        phases=_TWO,
        workers=_TWO,
        machine=_WORDS,
        detail=_WORDS,
        request_id=_WORDS,
        model=_WORDS,
        servers=_TWO,
    )
)
@example(Secrets("acme.example", ("acme", "acme.example"), ("acme.example", "acme"), "acme", "acme", "acme", "acme"))
@example(Secrets(machine="."))
@example(Secrets(machine="0.5", workers=("1.0", ":")))
def test_two_runs_that_differ_in_what_is_confidential_have_the_same_page(
    ordinary: str, tmp_path: Path, secrets: Secrets
) -> None:
    pages = [ordinary, redacted(write(tmp_path / "one.db", secrets))]
    differing = [pair for pair in zip(*(each.splitlines() for each in pages), strict=False) if pair[0] != pair[1]]
    assert differing == []


def test_nothing_confidential_is_on_the_page_and_the_figures_are(tmp_path: Path) -> None:
    path = write(tmp_path / "one.db", Secrets(), user="Build-7.acme.exampleReader")
    whole, page = tmp_path / "whole.html", tmp_path / "page.html"
    assert invoke("report", path, "-o", whole).exit_code == 0
    ended = invoke("report", path, "-o", page, "--redact")
    assert ended.output.strip().endswith(", redacted")
    text, original = told(page.read_text()), told(whole.read_text())
    for secret in ("acme", "4711", "merger", "8443", "build-7"):
        assert secret in original
        assert secret not in text, text[text.index(secret) - 200 :][:400]
    assert "report, redacted: without hosts" in text
    for kept in (
        "phase 1",
        "phase 2",
        "worker 1",
        "machine 1",
        "replica 1, address 1",
        "redactedreader",
        "http status",
        "429",
        "max_tokens",
    ):
        assert kept in text, kept
    figures = re.compile(r"<b>(.*?)</b><span>")
    found = [sorted(figures.findall(each.read_text())) for each in (page, whole)]  # facets are sorted by their names
    assert found[0] == found[1] != []


def test_rules_of_a_config_find_the_labels_that_they_name(tmp_path: Path) -> None:
    config, page = tmp_path / "rules.toml", tmp_path / "page.html"
    config.write_text("[[sla]]\nrule = 'p95(ttft) < 150ms'\nwhere.label.phase = 'before the merger'\n")
    path = write(tmp_path / "one.db", Secrets())
    assert invoke("report", path, "-o", page, "--redact", "--config", config).exit_code == 0
    assert "label phase phase 1" in told(page.read_text())
    assert "merger" not in told(page.read_text())


def test_a_page_that_would_name_the_host_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last check, should a panel ever get its data past the redacted store."""
    path = write(tmp_path / "one.db", Secrets())
    with Store.open(path) as store:
        aliases = redact(store)
        material = gather(store)
    monkeypatch.setattr(page, "panels", lambda _: [_naming()])
    with pytest.raises(StoreError, match=r"would still name .*acme\.example"):
        page.render_redacted(material, aliases)


def _naming() -> Panel:
    return Panel(name="verdict", title="met", lead="see https://API.acme.example:8443/ for more")


def test_the_database_itself_is_not_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "one.db", Secrets())
    connection = sqlite3.connect(path)
    before = [*connection.iterdump()]
    redacted(path)
    assert [*connection.iterdump()] == before
    connection.close()
