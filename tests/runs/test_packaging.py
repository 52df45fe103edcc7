"""What people install: an sdist, the wheel that is built from it, and that wheel among a user's own packages."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.command import PATIENCE
from tests.support.reference import ReferenceServer

pytest.importorskip("hatchling", reason="hatchling builds the package; `make install` installs it")

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("harness", "scenarios", "reports", "reference_server")


@pytest.fixture(scope="module", autouse=True)
def _compiles_without_optimizing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Which would be most of the work of building: the last of the compiler's options counts."""
    compiler = tmp_path_factory.mktemp("compiler") / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {os.environ.get("CC", "cc")} "$@" -O0\n')
    compiler.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", str(compiler))
        yield


def build(target: str, source: Path, into: Path) -> Path:
    """Build without isolation, since isolation would download hatchling."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=PATIENCE)
    return next(into.iterdir())


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", REPOSITORY, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", sdist, "-C", folder], check=True)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone in a folder. Its dependencies come from the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, timeout=PATIENCE)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's working directory, with packages of the names that our repository gives to its folders."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise AssertionError('the user’s package was imported')\n")
    return tmp_path


def call(installed: Path, cwd: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(installed), "XDG_STATE_HOME": str(installed / "state")}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_an_sdist_holds_sources_and_no_compiled_library(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert not [name for name in names if name.endswith((".so", ".pyc", ".db"))]
    assert {"harness/cli.py", "scenarios/chat.py", "docs/README.md", "constraints.txt", "Makefile", "LICENSE"} <= names
    assert {f"tests/{tier}/__init__.py" for tier in ("pure", "socket", "runs", "browser")} <= names


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    direct = contents(build("wheel", REPOSITORY, tmp_path))
    through_sdist = contents(wheel)
    assert sorted(through_sdist) == sorted(direct)
    # The compiler decides what is in a library, and RECORD holds its checksum.
    assert [
        name for name in direct if direct[name] != through_sdist[name] and not name.endswith((".so", "RECORD"))
    ] == []


def test_a_wheel_holds_one_top_level_package(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in contents(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streamgauge"}


def test_an_unpacked_sdist_can_be_installed_in_editable_mode(unpacked: Path, tmp_path: Path) -> None:
    build("wheel:editable", unpacked, tmp_path / "built")
    program = "import streamgauge.reports.page, streamgauge.reference_server.app as app; print(app.__file__)"
    done = call(unpacked / "src", tmp_path, [sys.executable, "-c", program])
    assert done.stdout.strip() == str(unpacked / "src/streamgauge/reference_server/app.py"), done.stderr


def test_the_command_runs_beside_packages_of_the_same_names(installed: Path, home: Path) -> None:
    done = call(installed, home, [str(installed / "bin/streamgauge"), "--help"])
    assert done.returncode == 0, done.stderr
    assert "Usage: streamgauge" in done.stdout
    where = call(installed, home, [sys.executable, "-c", "import streamgauge; print(streamgauge.__file__)"])
    assert where.stdout.strip() == str(installed / "streamgauge/__init__.py")


def test_locust_runs_a_users_scenario_beside_packages_of_the_same_names(
    installed: Path, home: Path, server: ReferenceServer
) -> None:
    (home / "mine.py").write_text(
        "from streamgauge.scenario import StreamUser, constant, task\n\n\n"
        "class Reader(StreamUser):\n    wait_time = constant(0)\n\n"
        "    @task\n    def ask(self):\n        self.stream()\n"
    )
    (home / "streamgauge.toml").write_text("[target]\nmax_tokens = 3\n")
    command = [sys.executable, "-m", "locust", "-f", "mine.py", "--headless", "-u", "2", "-r", "2", "-t", "2s"]
    done = call(installed, home, [*command, "-H", server.url, "--gauge-db", "mine.db"])
    assert done.returncode in {0, 3}, done.stderr  # 3: no rules, so there is nothing that could be met
    listed = call(installed, home, [str(installed / "bin/streamgauge"), "runs", "mine.db"])
    assert listed.returncode == 0, listed.stderr
    assert "mine" in listed.stdout


def test_the_demo_judges_by_the_shipped_rules_in_a_folder_without_a_config(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, [str(installed / "bin/streamgauge"), "demo", "--users", "10", "--run-time", "4s"])
    assert done.returncode in {0, 1, 3}, done.stderr  # so short a run may be too short for the rules
    assert "p95(ttft) < 1.5s" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.db", "demo.html", "demo.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
