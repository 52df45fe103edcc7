"""What other tools read of a monitor: Prometheus's page, rules, documents, a dashboard, metrics for a collector."""

import gzip
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from streamgauge.harness.monitor.exposition import genai, written
from streamgauge.harness.monitor.exposition import yaml as ours
from streamgauge.harness.monitor.exposition.otlp import Otlp
from streamgauge.harness.monitor.exposition.page import BUCKETS, Page
from streamgauge.harness.monitor.exposition.probes import NewProbes
from streamgauge.harness.monitor.levels import labels_of
from tests.support.alert_servers import http_receiver
from tests.support.command import PATIENCE
from tests.support.monitored import Monitored, with_an_outage

_PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    _PROMTOOL is None and os.environ.get("PROMTOOL") != "required", reason="no promtool (Debian: prometheus)"
)


def promtool(*words: str, given: bytes = b"") -> str:
    assert _PROMTOOL is not None, "promtool is required here: install Debian's prometheus"
    done = subprocess.run([_PROMTOOL, *words], input=given, capture_output=True, timeout=PATIENCE, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    return with_an_outage(tmp_path_factory.mktemp("exposed") / "monitor.db")


def targets(monitored: Monitored) -> dict[str, dict[str, str]]:
    return {target.name: labels_of(target) for target in monitored.config.monitor.target}


@contextmanager
def page_of_new_probes(folder: Path) -> Iterator[Page]:
    """A page whose process has seen every probe: 140 of them, 20 bad."""
    made = Monitored(folder / "monitor.db")
    page = Page(made.store, targets(made))
    made.probes([400] * 120)
    made.probes([None, 9_000, *[2_000] * 18], first=120)
    made.judged(140)
    yield page


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_prometheus_reads_what_the_probes_saw_and_how_the_service_levels_are(tmp_path: Path) -> None:
    with page_of_new_probes(tmp_path) as page:
        found = samples(page.text())
        again = samples(page.text())
    assert value(found, "streamgauge_probes_total", target="eu", outcome="completed") == 139
    assert value(found, "streamgauge_probes_total", target="eu", outcome="refused") == 1
    assert value(found, "streamgauge_probes_total", target="eu", outcome="reset") == 0, "a counter begins at 0"
    assert value(found, "streamgauge_tokens_total", target="eu", kind="output") == 140 * 30
    cold, warm = (
        value(found, "streamgauge_ttft_seconds_count", target="eu", connection=each) or 0 for each in ("cold", "warm")
    )
    assert (cold, warm) == (69, 70), "the refused one has no TTFT"
    assert value(found, "streamgauge_ttft_seconds_bucket", target="eu", connection="warm", le="0.4") == 60
    assert value(found, "streamgauge_ttft_seconds_bucket", target="eu", connection="warm", le="0.315") == 0
    level = {"slo": "first token", "target": "eu"}
    assert value(found, "streamgauge_slo_probes_total", **level) == 140
    assert value(found, "streamgauge_slo_bad_probes_total", **level) == 20
    assert value(found, "streamgauge_slo_burn_rate", window="1h", **level) == pytest.approx(20 / 60 / 0.01)
    assert value(found, "streamgauge_slo_budget_left_ratio", **level) == pytest.approx(1 - 20 / 140 / 0.01)
    assert value(found, "streamgauge_incidents_open", severity="page", **level) == 1
    assert value(found, "streamgauge_alerts", receiver="command", state="waiting") is not None
    assert value(found, "streamgauge_target_info", target="eu", region="eu", a_b="c") == 1
    assert again == found, "each probe is counted once"


def test_buckets_are_fine_enough_for_a_quantile() -> None:
    ratios = BUCKETS[1:] / BUCKETS[:-1]
    assert ratios.max() < 1.3
    assert (BUCKETS[0], BUCKETS[-1]) == (0.001, 100.0)


@needs_promtool
def test_promtool_accepts_the_page(tmp_path: Path) -> None:
    with page_of_new_probes(tmp_path) as page:
        promtool("check", "metrics", given=page.text())


def test_every_rule_and_panel_asks_for_a_metric_that_is_exposed(monitored: Monitored, tmp_path: Path) -> None:
    with page_of_new_probes(tmp_path) as page:
        exposed = {name for name, _ in samples(page.text())}
    texts = "\n".join(written.documents(monitored.levels).values())
    asked = set(re.findall(r"\bstreamgauge_[a-z0-9_]+", texts))
    assert asked
    assert asked - exposed == set()


@needs_promtool
def test_promtool_accepts_the_rules_and_they_fire_as_the_monitor_does(monitored: Monitored, tmp_path: Path) -> None:
    paths = written.write(str(tmp_path / "rules"), monitored.levels)
    assert [path.name for path in paths] == [
        "prometheus-rules.yaml", "sloth.yaml", "openslo.yaml", "grafana-dashboard.json",
    ]  # fmt: skip
    assert "SUCCESS" in promtool("check", "rules", str(paths[0]))
    (tmp_path / "rules" / "test.yaml").write_text(_UNIT_TEST)
    promtool("test", "rules", str(tmp_path / "rules" / "test.yaml"))


# A probe a minute; from the hour 2:00 on all are bad. After 9 bad minutes, 9 of the last 60 are bad: more than 14.4 %.
_UNIT_TEST = """
rule_files: [prometheus-rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'streamgauge_slo_probes_total{slo="first token", target="eu"}'
        values: '0+1x180'
      - series: 'streamgauge_slo_bad_probes_total{slo="first token", target="eu"}'
        values: '0x120 1+1x60'
      - series: 'up{job="streamgauge"}'
        values: '1x180'
      - series: 'streamgauge_judged_timestamp_seconds'
        values: '0+60x180'
    alert_rule_test:
      - eval_time: 119m
        alertname: StreamgaugeErrorBudgetBurn
        exp_alerts: []
      - eval_time: 135m
        alertname: StreamgaugeMonitorDown
        exp_alerts: []
    promql_expr_test:
      - expr: count(ALERTS{alertname="StreamgaugeErrorBudgetBurn", severity="page", slo="first token", target="eu"})
        eval_time: 140m
        exp_samples: [{labels: '{}', value: 2}]
      - expr: count(ALERTS{alertname="StreamgaugeErrorBudgetBurn", severity="page"})
        eval_time: 124m
        exp_samples: []
"""


def test_sloth_openslo_and_grafana_get_the_levels_of_the_config(monitored: Monitored) -> None:
    documents = written.documents(monitored.levels)
    sloth = yaml.safe_load(documents["sloth.yaml"])
    assert (sloth["version"], [each["name"] for each in sloth["slos"]]) == (
        "prometheus/v1",
        ["first-token-eu", "errors-x-eu"],
    )
    assert [each["objective"] for each in sloth["slos"]] == [99, 99.9]
    assert "{{.window}}" in sloth["slos"][0]["sli"]["events"]["error_query"]
    assert 'target="eu"' in sloth["slos"][0]["sli"]["events"]["total_query"], "a sum over all would hide one"
    openslo = list(yaml.safe_load_all(documents["openslo.yaml"]))
    assert [each["spec"]["objectives"][0]["target"] for each in openslo] == [0.99, 0.999]
    assert [each["spec"]["timeWindow"][0]["duration"] for each in openslo] == ["30d", "7d"]
    rules = yaml.safe_load(documents["prometheus-rules.yaml"])
    label = rules["groups"][1]["rules"][0]["labels"]["slo"]
    assert label == 'errors {{ "{{" }} $x }}', "a name is no template"
    dashboard = json.loads(documents["grafana-dashboard.json"])
    assert len({json.dumps(panel["gridPos"]) for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize(
    "content",
    [
        {"a": "yes", "b": "1.0", "c": "x: y # z", "d": 'quo"te\nline', "e": None, "f": True, "g": [], "h": {}},
        {"list": [{"a": 1, "b": {"c": [1, 2]}}, ["x", ["y"]], "z", 0.5]},
    ],
)
def test_what_we_write_as_yaml_is_read_back_by_a_real_reader(content: dict[str, Any]) -> None:
    assert yaml.safe_load(ours.document(content, "about")) == content


def test_a_collector_gets_each_probe_once_by_opentelemetrys_names(tmp_path: Path) -> None:
    made = Monitored(tmp_path / "monitor.db")
    with http_receiver() as collector:
        otlp = Otlp(collector.url, 3_600.0, targets(made), print)
        new = NewProbes(made.store, targets(made))
        made.probes([400, None, 600])
        for probes in new.read():
            otlp.take(probes)
        otlp.close()
    (got,) = collector.got
    assert got.path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(_decompressed(got))
    metrics = {each.name: each for scope in request.resource_metrics[0].scope_metrics for each in scope.metrics}
    assert set(metrics) == {each.name for each in (
        genai.DURATION, genai.FIRST_CHUNK, genai.EACH_CHUNK, genai.USAGE, genai.TTFT)}  # fmt: skip
    assert _counts(metrics[genai.DURATION.name]) == 3
    assert _counts(metrics[genai.TTFT.name]) == 2
    assert _counts(metrics[genai.EACH_CHUNK.name]) == 4
    points = metrics[genai.DURATION.name].exponential_histogram.data_points
    assert {_attributes(point).get("error.type") for point in points} == {None, "refused"}
    told = _attributes(metrics[genai.TTFT.name].exponential_histogram.data_points[0])
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.request.model"] == "gpt"
    assert (told["server.address"], told["server.port"]) == ("eu.example", 443)
    assert told["streamgauge.region"] == "eu"
    assert sum(each.sum for each in metrics[genai.TTFT.name].exponential_histogram.data_points) == pytest.approx(1.0)


def test_a_collector_that_takes_nothing_is_told_once_and_without_what_may_be_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=geheim%2D4711")
    otlp = Otlp("http://127.0.0.1:9/geheim-1234", 3_600.0, {}, said.append)
    for _ in range(3):  # as the exporter does after each attempt
        logging.getLogger("opentelemetry.exporter.otlp").warning("url: /geheim-1234/v1/metrics, geheim-4711, refused")
    assert len(said) == 1
    assert "refused" in said[0]
    assert "geheim" not in said[0]
    otlp.close()


def _decompressed(got: Any) -> bytes:
    body: bytes = got.body
    return gzip.decompress(body) if got.headers.get("content-encoding") == "gzip" else body


def _counts(metric: Any) -> int:
    return sum(int(point.count) for point in metric.exponential_histogram.data_points)


def _attributes(point: Any) -> dict[str, Any]:
    return {each.key: each.value.int_value or each.value.string_value for each in point.attributes}


def test_the_documentation_lists_what_is_exposed(tmp_path: Path) -> None:
    with page_of_new_probes(tmp_path) as page:
        exposed = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in samples(page.text())}
    text = (Path(__file__).parents[2] / "docs/reference/monitor-pages.md").read_text()
    listed = set(re.findall(r"^\| `(streamgauge_\w+)`", text, re.MULTILINE))
    assert listed - {"streamgauge_receiver_failures"} == exposed
    names = {genai.DURATION, genai.FIRST_CHUNK, genai.EACH_CHUNK, genai.USAGE, genai.TTFT}
    assert {each.name for each in names} <= set(re.findall(r"^\| `([a-z_.]+)`", text, re.MULTILINE))
