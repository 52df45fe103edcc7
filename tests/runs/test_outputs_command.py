"""`judge` writes a verdict in every format; an output to standard output replaces what is printed."""

import json
from pathlib import Path
from xml.etree import ElementTree

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.outputs import kinds
from streamgauge.harness.judge.outputs.kinds import Output
from tests.support.command import command
from tests.support.record import database
from tests.support.verdicts import GOOD


def test_a_github_job_gets_the_github_output_once_without_an_option() -> None:
    assert kinds.requested(["junit=x.xml"], environ={}) == [Output("junit", "x.xml")]
    for environment in ({"GITHUB_ACTIONS": "true"}, {"GITHUB_STEP_SUMMARY": "/x"}):
        assert kinds.requested(["github", "text=-"], environ=environment) == [
            Output("github", None),
            Output("text", "-"),
        ]
        assert kinds.requested([], environ=environment) == [Output("github", None)]


def test_judge_writes_all_formats_from_the_database_alone(tmp_path: Path) -> None:
    database(tmp_path / "one.db", GOOD, rules=[Sla(rule="max(ttft) < 1ms")])
    (tmp_path / "ci").mkdir()
    options = [option for kind in kinds.FILES for option in ("--output", f"{kind}=ci/{kind}")]
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "summary.md"}
    ended = command("streamgauge", "judge", "one.db", *options, cwd=tmp_path, **github)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("✗ MISSED")
    assert "\n::error title=max(ttft) < 1ms missed::" in ended.stdout
    assert {path.name for path in (tmp_path / "ci").iterdir()} == set(kinds.FILES)
    assert json.loads((tmp_path / "ci/json").read_text())["verdict"] == "missed"
    assert (tmp_path / "ci/text").read_text().startswith("✗ MISSED")
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "ci/markdown").read_text()


def test_an_output_to_standard_output_is_the_only_text_there(tmp_path: Path) -> None:
    database(tmp_path / "one.db", GOOD, rules=[Sla(rule="max(ttft) < 1ms")])
    ended = command("streamgauge", "judge", "one.db", "--output", "junit=-", cwd=tmp_path, GITHUB_ACTIONS="true")
    assert ElementTree.fromstring(ended.stdout).tag == "testsuites"
    assert ended.stderr.startswith("::error title=max(ttft) < 1ms missed::"), "GitHub reads standard error, too"
