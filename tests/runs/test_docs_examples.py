"""Examples of the documentation, as a reader would try them: the first report, and the diffs of docs/extending.md."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.drive.protocols import Answer, for_target
from streamgauge.harness.drive.reading.sse import Decoder
from tests.support.command import command
from tests.support.reference import reference_server

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/extending.md").read_text()
DIFFS = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


# What is asked of the sources with every diff applied
PROGRAMS = {
    "protocol": """
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.protocols import Answer, for_target
from streamgauge.harness.drive.reading.sse import Decoder
protocol, answer = for_target(Target(protocol="json_text")), Answer()
stream = b'data: {"text": "Hello"}\\n\\nevent: end\\ndata: {"tokens": 2}\\n\\n'
meanings = [protocol.meaning_of(event, answer) for event in Decoder().feed(stream)]
print([(meaning.kind.value, meaning.characters, meaning.ends) for meaning in meanings], answer.output_tokens)
""",
    "metric": """
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.verdict.rules import parse
rule = parse(Sla(rule="p95(headers_to_content) < 800ms"))
print(rule.subject.name, rule.subject.better.value, rule.limit)
""",
    "finding": """
from streamgauge.harness.judge.verdict.findings import FINDINGS
print([*FINDINGS][-1], FINDINGS["usage_missing"].__module__.rpartition(".")[2])
""",
    "panel": """
from streamgauge.reports.panels import PANELS
print([draw.__module__.rpartition(".")[2] for draw in PANELS])
""",
    "fault": """
from streamgauge.reference_server.faults.catalogue import table
print(table())
""",
}


class Extended(NamedTuple):
    folder: Path
    said: dict[str, str]  # by each of PROGRAMS


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """A copy of the sources with every diff applied."""
    if shutil.which("git") is None:
        pytest.skip("no git, which applies the diffs")
    folder = tmp_path_factory.mktemp("extended")
    for name in ("harness", "reports", "reference_server", "scenarios", "docs", "src"):
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True)
    shutil.copy(REPOSITORY / "streamgauge.toml", folder)
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True)
    return Extended(folder, dict(zip(PROGRAMS, said(folder, *PROGRAMS.values()), strict=True)))


def said(folder: Path, *programs: str) -> list[str]:
    """What each of these programs prints. One process runs them, which imports the package of this folder once."""
    program = f"""
import contextlib, io, json, sys
sys.path.insert(0, {str(folder / "src")!r})
told = []
for each in {programs!r}:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(each, {{}})
    told.append(output.getvalue().strip())
print(json.dumps(told))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(ended.stdout)
    return found


def test_each_of_the_five_has_its_diff() -> None:
    assert len(DIFFS) == len(re.findall(r"^## A ", PAGE, re.MULTILINE)) == 5


def test_each_table_to_extend_is_in_the_file_that_the_page_names() -> None:
    named = re.findall(r"`([A-Z]+)` in `([\w./]+)`", PAGE)
    assert len(named) == 7
    for table, file in named:
        assert re.search(rf"^{table}\b.* = [{{(]", (REPOSITORY / file).read_text(), re.MULTILINE), file


def test_the_protocol_reads_its_events(extended: Extended) -> None:
    assert extended.said["protocol"] == "[('text', 5, False), ('other', 0, True)] 2"


def test_a_rule_knows_the_metric(extended: Extended) -> None:
    promised = "After this `p95(headers_to_content) < 800ms` is a rule."
    assert promised in PAGE
    assert extended.said["metric"] == "headers_to_content lower 800.0"


def test_the_finding_is_looked_for_and_documented(extended: Extended) -> None:
    assert extended.said["finding"] == "usage_missing usage"
    assert "| `usage_missing` |" in (extended.folder / "docs/reference/findings.md").read_text()


def documented_scenarios() -> list[str]:
    pages = [*(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*.md"), REPOSITORY / "scenarios/README.md"]
    examples = [text for page in pages for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    return [text for text in examples if "StreamUser)" in text]


@pytest.fixture(scope="module")
def of_scenarios() -> list[str]:
    """What the example for scenario authors and the documentation's scenarios turn out to be."""
    example = """
import streamgauge.scenario as scenario
example = scenario.__doc__.partition("\\n\\n")[2]
found = {}
exec(example, found)
user = found["Reader"]
print(user.network, [task.__name__ for task in user.tasks], issubclass(user, scenario.StreamUser))
"""
    documented = f"""
import streamgauge.scenario
for number, text in enumerate({documented_scenarios()!r}):
    found = {{name: getattr(streamgauge.scenario, name) for name in streamgauge.scenario.__all__}}
    before = set(found)
    exec(text, found)
    print(number, any(isinstance(found[name], type) for name in set(found) - before))
"""
    return said(REPOSITORY, example, documented)


def test_the_example_for_scenario_authors_defines_a_user_who_asks(of_scenarios: list[str]) -> None:
    assert of_scenarios[0] == "slow_4g ['ask'] True"


def test_every_scenario_of_the_documentation_can_be_loaded(of_scenarios: list[str]) -> None:
    assert len(documented_scenarios()) > 5
    assert of_scenarios[1].splitlines() == [f"{number} True" for number in range(len(documented_scenarios()))]


def test_the_panel_is_drawn_after_the_errors(extended: Extended) -> None:
    assert "'rates', 'outcomes', 'timeline'" in extended.said["panel"]


def test_the_fault_is_in_the_table_of_the_documentation(extended: Extended) -> None:
    rows = extended.said["fault"]
    assert "| `hurry` |" in rows
    assert rows in (extended.folder / "docs/reference/faults.md").read_text()


def test_the_first_report_can_be_made_as_the_page_says(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/start/first-report.md").read_text()
    (tmp_path / "streamgauge.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    line = re.findall(r"^streamgauge run .*--report try\.html$", page, re.MULTILINE)[0]
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "2ms", "--api-key", "open-sesame") as server:
        words = shlex.split(line.replace("https://staging.example", server.url).replace("15s", "5s"))
        done = command(*words, cwd=tmp_path, STAGING_KEY="open-sesame")
    ended_well = r"^outcomes: \d+ completed(, \d+ interrupted)?$"
    assert re.search(ended_well, done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert (tmp_path / "try.html").read_text().startswith("<!doctype html>")


def test_the_mapping_of_an_own_format_reads_the_stream_of_the_page() -> None:
    page = (REPOSITORY / "docs/how-to/own-format.md").read_text()
    stream = re.findall(r"```text\n(data: .*?)```", page, re.DOTALL)[0]
    stream += "\n"  # the blank line that ends the last event
    settings = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    protocol, answer = for_target(parse(settings.encode()).target), Answer()
    meanings = [protocol.meaning_of(event, answer) for event in Decoder().feed(stream.encode())]
    assert [(meaning.characters, meaning.ends) for meaning in meanings] == [(3, False), (2, False), (0, True)]
    assert (answer.input_tokens, answer.output_tokens, answer.stop_reason) == (12, 2, "stop")
