"""The one import name: `streamgauge`, whatever else is on the path."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("harness", "scenarios", "reports", "reference_server")
IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import streamgauge

def import_all(package):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name.rpartition(".")[2] not in {"__main__", "_compiled"}:
            module = importlib.import_module(found.name)
            if found.ispkg:
                import_all(module)

for name in ("reference_server", "reports", "harness.judge"):  # before Locust patches what they stand on
    import_all(importlib.import_module(f"streamgauge.{name}"))
import_all(streamgauge)
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}))
"""


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_checkout_cannot_be_imported_under_its_own_name(folder: str) -> None:
    command = [sys.executable, "-c", f"import {folder}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"ImportError: import streamgauge.{folder} instead of {folder}")


def test_a_users_own_packages_of_the_same_names_are_not_touched(tmp_path: Path) -> None:
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


def test_no_file_is_behind_two_module_names() -> None:
    command = [sys.executable, "-c", IMPORT_EVERYTHING]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names: dict[Path, list[str]] = defaultdict(list)
    for name, file in json.loads(done.stdout).items():
        names[Path(file).resolve()].append(name)
    folders = [REPOSITORY / folder for folder in (*FOLDERS, "src")]
    ours = {file: found for file, found in names.items() if any(file.is_relative_to(folder) for folder in folders)}
    assert len(ours) > 100
    assert {file: found for file, found in ours.items() if len(found) > 1} == {}
    assert [name for found in ours.values() for name in found if name.partition(".")[0] != "streamgauge"] == []
