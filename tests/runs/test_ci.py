"""The GitHub action and the GitLab template do what docs/how-to/ci.md says; the tests run the scripts as CI would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from streamgauge.harness.judge.outputs.kinds import FILES
from tests.support.busy import again_if_busy, only_busy
from tests.support.command import PATIENCE, rows
from tests.support.priority import ordinary
from tests.support.reference import ReferenceServer

REPOSITORY = Path(__file__).parents[2]
ACTION = (REPOSITORY / "action.yml").read_text()
TEMPLATE = (REPOSITORY / "templates/streamgauge.yml").read_text()
GUIDE = (REPOSITORY / "docs/how-to/ci.md").read_text()
USED = {ACTION: r"\$\{\{ inputs\.([\w-]+) \}\}", TEMPLATE: r"\$\[\[ inputs\.([\w-]+) \]\]"}
SHELLS = {ACTION: ["bash", "-eo", "pipefail", "-c"], TEMPLATE: ["sh", "-e", "-c"]}  # GitLab takes what the image has
QUOTED = """ --label 'build=a b' --label "by=$(id) `id`\""""
GIVEN = {
    "scenario": "chat",
    "users": "5",
    "spawn-rate": "5",
    "run-time": "3s",
    "arguments": "--config rules.toml --inconclusive pass",
    "folder": "streamgauge",
    "stage": "test",
    "image": "any",
    "source": "here",
}


def declared(file: str) -> set[str]:
    """The names of the file's inputs: they are the keys that have a description or a default right below them."""
    return set(re.findall(r"^ +([\w-]+):\n +(?:description|default):", file, re.MULTILINE))


def script(file: str) -> str:
    """The last shell script in the file."""
    return dedent(re.findall(r"\|\n((?: {6,}\S.*\n)+)", file)[-1])


def variables(file: str, host: str) -> dict[str, str]:
    """The environment variables of the job with these inputs."""
    pairs = re.findall(rf"^ +([A-Z_]+): (?:\"|>-.*\n +)?{USED[file]}", file, re.MULTILINE)
    return {name: {**GIVEN, "host": host}[key] for name, key in pairs}


@pytest.mark.parametrize("file", [ACTION, TEMPLATE], ids=["GitHub", "GitLab"])
def test_every_input_is_declared_and_used(file: str) -> None:
    assert declared(file) == set(re.findall(USED[file], file))


@pytest.mark.parametrize("file", [ACTION, TEMPLATE], ids=["GitHub", "GitLab"])
def test_the_script_leaves_the_files_of_the_guide_and_exits_by_the_verdict(
    file: str, server: ReferenceServer, tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text('[target]\nmax_tokens = 5\n[[sla]]\nrule = "max(ttft) < 1ms"\n')

    def attempt() -> "subprocess.CompletedProcess[str]":
        shutil.rmtree(tmp_path / "streamgauge", ignore_errors=True)
        return subprocess.run(
            [*SHELLS[file], script(file)],
            cwd=tmp_path,
            env={
                **os.environ,
                **variables(file, server.url),
                "ARGUMENTS": GIVEN["arguments"] + QUOTED,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    ended = ordinary(lambda: again_if_busy(attempt))
    assert ended.returncode == 1 or only_busy(ended), ended.stdout + ended.stderr
    assert ("INVALID: " if only_busy(ended) else "MISSED: 1 of 1 rule missed") in ended.stdout
    left = {path.name for path in (tmp_path / "streamgauge").iterdir()}
    assert rows(tmp_path / "streamgauge" / "run.db", "SELECT labels ->> 'build', labels ->> 'by' FROM runs") == [
        ("a b", "$(id) `id`")
    ]
    (asked,) = rows(tmp_path / "streamgauge" / "run.db", "SELECT instrument ->> '$.asked.spawn_rate' FROM runs")
    assert asked == (5,)
    expected = {"run.db", "report.html", "junit.xml", "summary.md"} | ({"metrics.txt"} if file is TEMPLATE else set())
    assert left == expected


def test_the_guide_uses_only_inputs_that_exist() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    inputs = re.compile(r"(?:OWNER/streamgauge@main\n +with|inputs):\n((?: {6,}[\w-]+: .*\n)+)")
    found = [given for given in map(inputs.search, blocks) if given is not None]  # other blocks run our commands
    for given, file in zip(found, (ACTION, TEMPLATE), strict=True):
        assert {line.split(":")[0].strip() for line in given[1].splitlines()} <= declared(file)


def test_the_guide_documents_every_output() -> None:
    assert set(re.findall(r"^\| `(\w+)=FILE` \|", GUIDE, re.MULTILINE)) == set(FILES)


@pytest.mark.parametrize("file", [ACTION, TEMPLATE], ids=["GitHub", "GitLab"])
def test_a_quote_of_the_arguments_that_is_not_closed_is_a_mistake(file: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*SHELLS[file], script(file)],
        cwd=tmp_path,
        env={**os.environ, **variables(file, "http://127.0.0.1:1"), "ARGUMENTS": "--label 'build=a b"},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "quote" in ended.stderr
