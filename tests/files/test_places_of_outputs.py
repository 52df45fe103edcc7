"""A file that a command is to write: a wrong path is found before anything is read, judged or printed."""

from pathlib import Path

import pytest

from tests.support.accepted import fill
from tests.support.command import invoke


@pytest.mark.parametrize(
    "words",
    [
        "report gauge.db -o",
        "report gauge.db --redact -o",
        "history gauge.db -o",
        "history gauge.db --csv",
        "baseline export gauge.db --name main -o",
        "compare gauge.db --baseline main -o",
        "compare gauge.db --run old-0 --run old-1 -o",
        "judge gauge.db --json",
        "export gauge.db -o",
    ],
)
def test_a_path_into_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = invoke(*words.split(), "nowhere/file")
    said = "streamgauge: nowhere/file: there is no folder nowhere; correct the path, or create the folder\n"
    assert (ended.exit_code, ended.output) == (2, said)
