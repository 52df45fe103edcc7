"""A compiled reader that another version left behind: one line that says what to do, and exit code 2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httptools
import pytest

from tests.support.command import PATIENCE

PACKAGE = Path(__file__).parents[2] / "src" / "streamgauge"
COMMAND = ("-c", "from streamgauge.harness.cli import main; main()", "runs", "gauge.db")
SCENARIO = PACKAGE / "scenarios" / "chat.py"
LOCUST = ("-m", "locust", "-f", str(SCENARIO), "--headless", "--host", "http://127.0.0.1:9", "--run-time", "1s")


@pytest.fixture(scope="module")
def outdated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, whose library has none of the functions that this version calls."""
    folder = tmp_path_factory.mktemp("outdated")
    shutil.copytree(PACKAGE, folder / "streamgauge", ignore=shutil.ignore_patterns("__pycache__", "plotly_bundle"))
    any_library = next(Path(httptools.__file__).parent.rglob("*.so"))
    shutil.copyfile(any_library, folder / "streamgauge" / "harness" / "native" / "_compiled.so")
    return folder


@pytest.mark.parametrize("arguments", [COMMAND, LOCUST], ids=["command", "locust"])
def test_an_outdated_library_is_one_line(outdated: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, *arguments]
    environ = {**os.environ, "PYTHONPATH": str(outdated)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 2
    ours = [line for line in done.stderr.splitlines() if line.startswith("streamgauge: ")]
    library = outdated / "streamgauge" / "harness" / "native" / "_compiled.so"
    assert ours == [f"streamgauge: {library} was compiled from another version; install the package again"]
    assert "Traceback" not in done.stderr
