"""Examples of the documentation, as a reader would try them: the first report, and the diffs of docs/extending.md."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.drive.protocols import Answer, for_target
from streamgauge.harness.drive.reading.sse import Decoder
from tests.support.command import command
from tests.support.reference import reference_server

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/extending.md").read_text()
DIFFS = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with every diff applied."""
    if shutil.which("git") is None:
        pytest.skip("no git, which applies the diffs")
    folder = tmp_path_factory.mktemp("extended")
    for name in ("harness", "reports", "reference_server", "scenarios", "docs", "src"):
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True)
    shutil.copy(REPOSITORY / "streamgauge.toml", folder)
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True)
    return folder


def said(folder: Path, program: str) -> str:
    program = f"import sys; sys.path.insert(0, {str(folder / 'src')!r})\n{program}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_each_of_the_five_has_its_diff() -> None:
    assert len(DIFFS) == len(re.findall(r"^## A ", PAGE, re.MULTILINE)) == 5


def test_each_table_to_extend_is_in_the_file_that_the_page_names() -> None:
    named = re.findall(r"`([A-Z]+)` in `([\w./]+)`", PAGE)
    assert len(named) == 7
    for table, file in named:
        assert re.search(rf"^{table}\b.* = [{{(]", (REPOSITORY / file).read_text(), re.MULTILINE), file


def test_the_protocol_reads_its_events(extended: Path) -> None:
    program = """
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.protocols import Answer, for_target
from streamgauge.harness.drive.reading.sse import Decoder
protocol, answer = for_target(Target(protocol="json_text")), Answer()
stream = b'data: {"text": "Hello"}\\n\\nevent: end\\ndata: {"tokens": 2}\\n\\n'
meanings = [protocol.meaning_of(event, answer) for event in Decoder().feed(stream)]
print([(meaning.kind.value, meaning.characters, meaning.ends) for meaning in meanings], answer.output_tokens)
"""
    assert said(extended, program) == "[('text', 5, False), ('other', 0, True)] 2"


def test_a_rule_knows_the_metric(extended: Path) -> None:
    program = """
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.verdict.rules import parse
rule = parse(Sla(rule="p95(headers_to_content) < 800ms"))
print(rule.subject.name, rule.subject.better.value, rule.limit)
"""
    promised = "After this `p95(headers_to_content) < 800ms` is a rule."
    assert promised in PAGE
    assert said(extended, program) == "headers_to_content lower 800.0"


def test_the_finding_is_looked_for_and_documented(extended: Path) -> None:
    program = """
from streamgauge.harness.judge.verdict.findings import FINDINGS
print([*FINDINGS][-1], FINDINGS["usage_missing"].__module__.rpartition(".")[2])
"""
    assert said(extended, program) == "usage_missing usage"
    assert "| `usage_missing` |" in (extended / "docs/reference/findings.md").read_text()


def test_the_example_for_scenario_authors_defines_a_user_who_asks() -> None:
    program = """
import streamgauge.scenario as scenario
example = scenario.__doc__.partition("\\n\\n")[2]
found = {}
exec(example, found)
user = found["Reader"]
print(user.network, [task.__name__ for task in user.tasks], issubclass(user, scenario.StreamUser))
"""
    assert said(REPOSITORY, program) == "slow_4g ['ask'] True"


def test_every_scenario_of_the_documentation_can_be_loaded() -> None:
    pages = [*(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("*.md"), REPOSITORY / "scenarios/README.md"]
    examples = [text for page in pages for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    scenarios = [text for text in examples if "StreamUser)" in text]
    assert len(scenarios) > 5
    program = f"""
import streamgauge.scenario
for number, text in enumerate({scenarios!r}):
    found = {{name: getattr(streamgauge.scenario, name) for name in streamgauge.scenario.__all__}}
    before = set(found)
    exec(text, found)
    print(number, any(isinstance(found[name], type) for name in set(found) - before))
"""
    assert said(REPOSITORY, program).splitlines() == [f"{number} True" for number in range(len(scenarios))]


def test_the_panel_is_drawn_after_the_errors(extended: Path) -> None:
    program = """
from streamgauge.reports.panels import PANELS
print([draw.__module__.rpartition(".")[2] for draw in PANELS])
"""
    assert "'rates', 'outcomes', 'timeline'" in said(extended, program)


def test_the_fault_is_in_the_table_of_the_documentation(extended: Path) -> None:
    program = """
from streamgauge.reference_server.faults.catalogue import table
print(table())
"""
    rows = said(extended, program)
    assert "| `hurry` |" in rows
    assert rows in (extended / "docs/reference/faults.md").read_text()


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
