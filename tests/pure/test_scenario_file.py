"""Two runs of a scenario are comparable if its file asks for the same work."""

from pathlib import Path

import pytest

from streamgauge.harness.run.scenario_file import content_hash

SCENARIOS = Path(__file__).parents[2] / "scenarios"
# As version 0.1.0 stored them. noisy_neighbour is not among them: its text names a page of the docs that has moved.
HASHES = {
    "app_switchers": "8826ec9892de",
    "arrivals": "bc493df63559",
    "cached_prompts": "8ce3ca507577",
    "chat": "19aabc7818f6",
    "commuters": "f3cab26ea705",
    "conversation": "443af9db9402",
    "disconnects": "15ab8fc58530",
    "handover": "964aa36514f5",
    "mixed": "1c7e05f0656a",
    "progressive": "846169a38d4e",
    "retry_storm": "33c9753db6e9",
    "slow_mobile": "c3eca823c399",
    "soak": "6e81da3bc78f",
    "spike": "02024c7aa1b5",
    "steps": "cac1683605da",
    "tools": "91d6a19c5c33",
}
SCENARIO = """from {package}.scenario import StreamUser, task


class Reader(StreamUser):
    @task
    def ask(self):
        self.stream(max_tokens={tokens})
"""


def hashed(path: Path, package: str, tokens: int) -> str:
    path.write_text(SCENARIO.format(package=package, tokens=tokens))
    return content_hash([str(path)])


def test_a_scenario_in_which_only_the_import_was_renamed_is_the_same_work(tmp_path: Path) -> None:
    renamed = hashed(tmp_path / "scenario.py", "streamgauge", 20)
    assert renamed == hashed(tmp_path / "scenario.py", "harness", 20)


@pytest.mark.parametrize(("package", "tokens"), [("streamgauge", 21), ("streamgauge.harness", 20)])
def test_another_line_is_other_work(package: str, tokens: int, tmp_path: Path) -> None:
    assert hashed(tmp_path / "a.py", "streamgauge", 20) != hashed(tmp_path / "b.py", package, tokens)


def test_a_file_that_cannot_be_read_does_not_end_the_run(tmp_path: Path) -> None:
    assert content_hash([str(tmp_path / "from the master")]) == content_hash([])


@pytest.mark.parametrize("name", HASHES)
def test_a_shipped_scenario_compares_with_baselines_of_the_version_before(name: str) -> None:
    """An edit of its file, even of its docstring, makes its runs other work than a team's accepted ones."""
    assert content_hash([str(SCENARIOS / f"{name}.py")]) == HASHES[name]
