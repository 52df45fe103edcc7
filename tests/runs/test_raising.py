"""A scenario whose code raises during the run: one line with file and line, however many users raise it."""

from pathlib import Path

import pytest

from tests.support.command import HASTY, RULES, command, processes
from tests.support.reference import ReferenceServer

TASK = HASTY.replace("self.stream()", 'self.stream()\n        {}["key"]')
ON_START = HASTY.replace("    @task", '    def on_start(self):\n        {}["key"]\n\n    @task')


@pytest.mark.parametrize("alone", [True, False], ids=["in this process", "in a worker"])
@pytest.mark.parametrize("scenario", [TASK, ON_START], ids=["task", "on_start"])
def test_what_a_scenario_raises_is_one_line_with_its_place(
    server: ReferenceServer, tmp_path: Path, scenario: str, alone: bool
) -> None:
    (tmp_path / "raises.py").write_text(scenario)
    (tmp_path / "streamgauge.toml").write_text(RULES)
    number = 1 + scenario.splitlines().index('        {}["key"]')
    ended = command(
        *("streamgauge", "run", "raises.py", "--host", server.url, "--users", "4", "--spawn-rate", "4"),
        *("--run-time", "3s", "--db", "run.db"),
        *(() if alone else ("--", *processes(1))),
        cwd=tmp_path,
        COLUMNS="200",
    )
    assert ended.returncode == 2
    line = f"raises.py:{number}: KeyError: 'key'"
    assert f"the scenario's own code raised: {line}" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count(line) == 1
