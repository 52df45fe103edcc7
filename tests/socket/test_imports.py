"""What a command does not use, it does not import: so that each command starts quickly."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import PATIENCE

COMMAND = """
import sys
from streamgauge.harness.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
SCENARIO = """
import sys
import streamgauge.scenario
print(*sys.modules, file=sys.stderr)
import streamgauge.harness.run.keeper
print(*sys.modules, file=sys.stderr)
"""
STORE = {"numpy", "sqlite_utils"}
JUDGE = {"scipy.special", "rich", "streamgauge.harness.judge.measure.statistics"}
REPORT = {"plotly", "jinja2", "streamgauge.reports.page"}
LOCUST = {"locust", "gevent"}
CLIENTS = {"anthropic", "httpx", "httpx2"}


def imported(program: str, *arguments: str, folder: Path) -> list[set[str]]:
    """The modules on each line that the program printed to its standard error."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [{*line.split()} for line in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--help"], STORE | JUDGE | REPORT | LOCUST | CLIENTS),
        (["run", "no-such-scenario", "--host", "http://127.0.0.1:9"], STORE | JUDGE | REPORT | LOCUST | CLIENTS),
        (["serve", "--port", "none"], STORE | JUDGE | REPORT | LOCUST | CLIENTS),
        (["runs", "no-such.db"], {"scipy.special"} | REPORT | LOCUST | CLIENTS),
        (["try", "--host", "http://127.0.0.1:9"], {"locust", "sqlite_utils", "scipy.special"} | REPORT | CLIENTS),
        (["judge", "no-such.db"], {"scipy.special"} | REPORT | LOCUST | CLIENTS),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_uses(words: list[str], unused: set[str], tmp_path: Path) -> None:
    *_, found = imported(COMMAND, *words, folder=tmp_path)
    assert "streamgauge.harness.cli" in found
    assert found & unused == set()


def test_a_scenario_imports_no_judge_and_neither_it_nor_its_run_a_client_that_no_user_has(tmp_path: Path) -> None:
    found, of_a_run = imported(SCENARIO, folder=tmp_path)
    assert "locust" in found
    # Locust's own web UI imports jinja2; streams are packed with numpy.
    assert found & (STORE | JUDGE | REPORT | CLIENTS) == {"jinja2", "numpy"}
    assert "streamgauge.harness.judge.verdict.judgement" in of_a_run
    assert of_a_run & ({"scipy.special", "plotly"} | CLIENTS) == set(), "a run without a report and a metrics page"
