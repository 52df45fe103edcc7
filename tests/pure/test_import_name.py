"""The one import name: `streamgauge`, whatever else is on the path."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("harness", "scenarios", "reports", "reference_server")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_checkout_cannot_be_imported_under_its_own_name(folder: str) -> None:
    command = [sys.executable, "-c", f"import {folder}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"ImportError: import streamgauge.{folder} instead of {folder}")


def test_a_users_own_packages_of_the_same_names_are_left_to_them(tmp_path: Path) -> None:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("OWN = True\n")
    program = (
        "import harness, scenarios, reports, reference_server\n"
        "import streamgauge.reference_server.app, streamgauge.reports.page\n"
        "import streamgauge.scenario  # last: Locust patches what the server stands on\n"
        "print(harness.OWN, scenarios.OWN, reports.OWN, reference_server.OWN)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 4
