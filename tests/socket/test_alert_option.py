"""`judge --alert` and `run --gate --alert`: what is told, when, and that it changes no exit code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamgauge.harness.commands import several_runs
from streamgauge.harness.commands.judge import command as judge
from streamgauge.harness.compare.series import Series, Work
from streamgauge.harness.errors import BaselineError, ConfigError, StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, Row
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.monitor.alerts.of_result import alert_of
from tests.support.alert_servers import Answer, Receiver, http_receiver
from tests.support.record import judged, ttfts
from tests.support.verdicts import HOSTILE, REFUSED

_CONFIG = '[[alert]]\nkind = "webhook"\nurl = "{url}/hook"\n[[sla]]\nrule = "{rule}"\n'


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with http_receiver() as started:
        yield started


def judged_again(folder: Path, receiver: Receiver, rule: str, *options: str) -> Result:
    db, config = folder / "run.db", folder / "own.toml"
    if not db.exists():
        judged(db, [*ttfts(range(100, 400), output_tokens=3), *REFUSED], "p95(ttft) < 1s")
    config.write_text(_CONFIG.format(url=receiver.url, rule=rule))
    receiver.got.clear()
    return CliRunner().invoke(judge, [str(db), "--config", str(config), "--alert", *options])


def test_judge_tells_of_a_missed_rule_and_exits_as_without_an_alert(receiver: Receiver, tmp_path: Path) -> None:
    done = judged_again(tmp_path, receiver, "max(ttft) < 50ms")
    assert done.exit_code == Exit.MISSED
    (got,) = receiver.got
    assert (got.document["status"], got.document["severity"]) == ("firing", "page")
    assert got.document["evidence"]["missed_1"].startswith("max(ttft) < 50ms")
    assert "refused" in got.document["evidence"]["failures"]
    assert "alert sent to webhook" in done.stderr


def test_judge_tells_nothing_of_a_met_rule(receiver: Receiver, tmp_path: Path) -> None:
    assert judged_again(tmp_path, receiver, "error_rate < 50%").exit_code == Exit.MET
    assert receiver.got == []


def test_what_could_not_be_judged_is_a_ticket(receiver: Receiver, tmp_path: Path) -> None:
    few = 'max(ttft) < 50ms"\nmin_samples = 9999 # "'
    assert judged_again(tmp_path, receiver, few).exit_code == Exit.INCONCLUSIVE
    assert receiver.got[0].document["severity"] == "ticket"
    assert judged_again(tmp_path, receiver, few, "--inconclusive", "pass").exit_code == Exit.MET
    assert receiver.got == []


def test_a_receiver_that_fails_changes_no_exit_code_and_is_told(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers.append(Answer(400, body=b"no"))
    done = judged_again(tmp_path, receiver, "max(ttft) < 50ms")
    assert done.exit_code == Exit.MISSED
    assert "the alert was not sent to webhook: HTTP 400: no" in done.stderr


def test_without_receivers_nothing_is_judged(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("")
    done = CliRunner().invoke(judge, [str(tmp_path / "none.db"), "--config", str(tmp_path / "own.toml"), "--alert"])
    assert isinstance(done.exception, ConfigError)
    assert "has no [[alert]]" in str(done.exception)


def test_a_gates_alert_names_what_regressed(tmp_path: Path) -> None:
    rows = [Row("p95(ttft)", "ms", GateStatus.REGRESSED, 400, 480, 1.2, Interval(1.1, 1.3), "worse in 3 runs")]
    compared = Comparison("main", GateStatus.REGRESSED, "p95(ttft) +20 %", rows, ["a"], ["b"], [])
    rules = judged(tmp_path / "run.db", ttfts(range(100, 400), output_tokens=3), "max(ttft) < 1s")
    alert = alert_of(Gated(rules, compared), Exit.MISSED)
    assert alert is not None
    assert "REGRESSED: p95(ttft) +20 %" in alert.summary
    assert alert.evidence["regressed_1"] == "p95(ttft): worse in 3 runs"
    assert alert_of(Gated(rules, compared), Exit.MET) is None


def test_an_alert_about_a_hostile_run_can_be_sent(tmp_path: Path) -> None:
    run = judged(tmp_path / "run.db", REFUSED, "max(ttft) < 1s", scenario=HOSTILE * 9, host=HOSTILE, id="a b\n" * 90)
    assert alert_of(run, Exit.MISSED) is not None


def test_a_series_without_a_result_is_told_of_too(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(series: Series, _turns: object) -> None:
        series.codes.append(Exit.MISTAKE)

    receiver.got.clear()
    config = tmp_path / "own.toml"
    config.write_text(_CONFIG.format(url=receiver.url, rule="max(ttft) < 1s"))
    monkeypatch.setattr(Series, "run", fail)
    options = {"config": str(config), "db": str(tmp_path / "no.db"), "host": "http://127.0.0.1:9", "run_time": "1s"}
    reporting = {"output": (), "json": None, "report": None, "alert": True}
    assert several_runs.run(Work("chat", options, {}), reporting, 1, None) == Exit.MISTAKE
    assert receiver.got[0].document["summary"].startswith("Without a verdict: its runs failed")


def test_a_gate_without_its_baseline_is_told_of(receiver: Receiver, tmp_path: Path) -> None:
    receiver.got.clear()
    config = tmp_path / "own.toml"
    config.write_text(_CONFIG.format(url=receiver.url, rule="max(ttft) < 1s"))
    options = {"config": str(config), "db": str(tmp_path / "new.db"), "host": "http://127.0.0.1:9", "run_time": "1s"}
    reporting = {"output": (), "json": None, "report": None, "alert": True}
    with pytest.raises(BaselineError):
        several_runs.run(Work("chat", options, {}), reporting, None, "main")
    (got,) = receiver.got
    assert (got.document["severity"], got.document["target"]) == ("ticket", "http://127.0.0.1:9")
    assert "no baseline called 'main'" in got.document["summary"]


def test_a_database_that_cannot_be_judged_is_told_of(receiver: Receiver, tmp_path: Path) -> None:
    receiver.got.clear()
    config = tmp_path / "own.toml"
    config.write_text(_CONFIG.format(url=receiver.url, rule="max(ttft) < 1s"))
    done = CliRunner().invoke(judge, [str(tmp_path / "gone.db"), "--config", str(config), "--alert"])
    assert isinstance(done.exception, StoreError)
    assert str(done.exception) in receiver.got[0].document["summary"]
