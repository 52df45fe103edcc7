"""Two runs of a scenario are comparable if its file asks for the same work."""

from pathlib import Path

import pytest

from streamgauge.harness.run.scenario_file import content_hash

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
