"""Other people's programs: found on the machine, or installed once below `out/wild`, and started on free ports."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.command import free_port
from tests.support.npm import missing

PLACE = Path(__file__).parents[2] / "out" / "wild"
_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_LONGEST_INSTALL = 1_800  # seconds; a busy machine compiles for a quarter of an hour
_PATIENCE = 300  # seconds until a server listens; some import for half a minute, on a busy machine for minutes


def debian(program: str, package: str) -> str:
    """The path of a program. Without its Debian package the test is skipped, or fails if PROXIES is `required`."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        missing(f"no {program} (Debian: {package})", "PROXIES")
    return found


# PyPI's torch brings three gigabytes for GPUs. Without retries, since a registry that does not answer will not.
TORCH = ("--retries", "0", "--extra-index-url", "https://download.pytorch.org/whl/cpu", "torch==2.13.0+cpu")


def python(
    name: str, *requirements: str, first: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Path:
    """The `bin` folder of a virtual environment that has these packages; skips the test if they cannot be installed.

    `first`: what pip gets before that.
    """
    folder = PLACE / name
    if not _installed(folder):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for arguments in filter(None, (first, requirements)):
            _install([str(folder / "bin" / "pip"), "install", "--quiet", *arguments], PLACE, name, environment)
        (folder / "ready").touch()
    return folder / "bin"


def _installed(folder: Path) -> bool:
    """Whether all is there. The scripts of an environment hold its path: they do not survive a move of the checkout."""
    pip = folder / "bin" / "pip"
    if not ((folder / "ready").exists() and pip.exists()):
        return False
    return Path(pip.read_text().partition("\n")[0].removeprefix("#!")).exists()


def node(*packages: str, name: str = "node") -> Path:
    """A folder in which Node finds these packages; skips the test if they cannot be installed.

    A package may be given with its version, such as next@16.4.6.
    """
    npm = debian("npm", "npm")
    folder = PLACE / name
    missing = [each for each in packages if not (folder / "node_modules" / each.partition("@")[0]).is_dir()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _install([npm, "install", "--no-audit", "--no-fund", "--silent", *missing], folder, ", ".join(missing))
    return folder


def _install(command: Sequence[str], folder: Path, what: str, environment: Mapping[str, str] | None = None) -> None:
    full = {**os.environ, **(environment or {})}
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_LONGEST_INSTALL, env=full)
    except subprocess.CalledProcessError as fault:
        said = [line for line in fault.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in said if not line.startswith("WARNING")]
        pytest.skip(f"{what} cannot be installed here: {errors[-1] if errors else fault}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be installed in {_LONGEST_INSTALL} s; install it into {PLACE / what}")
    except OSError as fault:
        pytest.skip(f"{what} cannot be installed here: {fault}")


def made(path: Path, bin_folder: Path, script: str) -> Path:
    """What a script beside this file makes in an environment, such as a model; made once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([bin_folder / "python", Path(__file__).parent / script, path], check=True, timeout=600)
    return path


@contextlib.contextmanager
def listening(
    command: Sequence[object],
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    also: Iterable[int] = (),
) -> Iterator[str]:
    """The URL of a server on this port, once it listens there and on the others; it ends with the test."""
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        try:
            for each in (port, *also):
                _wait_for(each, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        assert process.poll() is None, log.read_text()[-2_000:]
        assert time.monotonic() < give_up_at, f"it does not listen: {log.read_text()[-2_000:]}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
            continue
        return


__all__ = ["PLACE", "TORCH", "debian", "free_port", "listening", "made", "node", "python"]
