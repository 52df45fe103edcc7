"""Runs the steps of the tour and compares each with what it must be. Exit code 1 if a step failed."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streamgauge.harness import programs
from streamgauge.harness.exit_codes import Exit
from tests.support.command import BIN, REPOSITORY
from tests.tour.files import FILES, NAMESAKES
from tests.tour.steps import STEPS, Step

_ATTEMPTS = 3  # at a step whose verdict is that the machine was busy, which says nothing about the step
_BUSY = re.compile("INVALID|the machine was busy")
_LONGEST = 600  # seconds that a step may take
# So slow that the delays of a busy machine are a small part of each time.
_SERVER = ("--port", "0", "--preset", "exact", "--itl", "30ms", "--tokens", "8")
# What pip says where it reaches no index. Anything else is a fault of ours.
_OFFLINE = re.compile(r"Temporary failure in name resolution|Failed to establish a new connection|ReadTimeout")


def main() -> int:
    """Run the tour in a folder of its own, which stays if a step fails."""
    folder = Path(tempfile.mkdtemp(prefix="streamgauge-tour-"))
    began = time.monotonic()
    with ExitStack() as stack:
        environ = _environ(folder, *(stack.enter_context(_server(ttft)) for ttft in ("300ms", "900ms")))
        _write_files(folder)
        results = {step.name: _result(step, folder, environ) for step in STEPS}
    skipped = {name: result.removeprefix("skipped: ") for name, result in results.items() if result.startswith("skip")}
    failed = [name for name, result in results.items() if result == "failed"]
    print(f"\n{len(results) - len(failed) - len(skipped)} of {len(results)} steps passed", end="")
    print(f" in {time.monotonic() - began:.0f} s; {len(skipped)} skipped, {len(failed)} failed")
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}")
    for name in failed:
        print(f"failed:  {name}")
    if failed:
        print(f"what they wrote is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if failed else 0


@contextmanager
def _server(ttft: str) -> Iterator[str]:
    """The URL of a reference server."""
    command = programs.server_command(*_SERVER, "--ttft", ttft)
    with programs.running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None, "the reference server did not start"
            yield found[0]
        finally:
            process.terminate()


def _environ(folder: Path, target: str, slower: str) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = [str(folder / "clone/.venv/bin"), str(BIN)]
    of_tour = {
        "PATH": os.pathsep.join([*ours, os.environ["PATH"]]),
        "REPOSITORY": str(REPOSITORY),
        "TARGET": target,
        "SLOWER": slower,
        "PORT": str(port),
        "NO_COLOR": "1",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    # In a CI job, each step would write into that job's own summary.
    return {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")} | of_tour


def _write_files(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text.lstrip())
    namesakes = folder / "namesakes"
    for name in NAMESAKES:
        (namesakes / name).mkdir(parents=True)
        (namesakes / name / "__init__.py").write_text("raise AssertionError('the user’s package was imported')\n")
    for name in ("mine.py", "streamgauge.toml"):
        shutil.copy(folder / name, namesakes)


def _result(step: Step, folder: Path, environ: dict[str, str]) -> str:
    """`passed`, `failed` or `skipped: WHY`; told at once."""
    python = _python(step.python)
    if step.python is not None and python is None:
        return _told(step, f"skipped: there is no Python {step.python} here")
    own = environ if python is None else {**environ, "PYTHON": python}
    for attempt in range(1, _ATTEMPTS + 1):
        began = time.monotonic()
        try:
            ended = subprocess.run(
                ["sh", "-c", step.command], cwd=folder, env=own,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _told(step, "failed", f"it took more than {_LONGEST} s")
        took = f"{time.monotonic() - began:.0f} s, attempt {attempt}"
        said = ended.stdout if ended.stdout.strip() else ended.stderr
        first = next((line for line in said.splitlines() if line.strip()), "")
        if ended.returncode == step.code and re.match(step.first, first):
            return _told(step, "passed", f"{took}: {first[:100]}")
        if not (ended.returncode == Exit.INCONCLUSIVE and _BUSY.search(said)):
            break
    if step.downloads and _OFFLINE.search(ended.stderr):
        return _told(step, "skipped: pip reaches no package index")
    expected = f"expected exit code {step.code} and {step.first!r}, got {ended.returncode} and {first!r}"
    return _told(step, "failed", f"{took}: {expected}", ended.stdout[-2_000:], ended.stderr[-2_000:])


def _python(version: str | None) -> str | None:
    """The interpreter of this version, where one is found."""
    if version is None:
        return None
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin"))
    for folder in (*map(str, homes), *os.environ["PATH"].split(os.pathsep)):
        found = shutil.which(f"python{version}", path=folder)
        # pyenv has a file of this name on the PATH even for a version that is not chosen.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def _told(step: Step, result: str, *more: str) -> str:
    print(f"{result:8} {step.name}", *more, sep="\n         ", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
