"""Packages of npm for tests: installed once, below the user's cache."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge-tests"


def installed(package: str, version: str, required_by: str) -> Path:
    """The folder `node_modules` with this package.

    Skips the test where the package cannot be installed; fails it if the variable `required_by` is `required`.
    """
    folder = _CACHE / f"{package}-{version}"
    if not (folder / "node_modules" / package / "package.json").exists():
        if shutil.which("npm") is None:
            missing(f"no npm to install {package} with", required_by)
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{package}@{version}"]
        done = subprocess.run(npm, capture_output=True, timeout=300, check=False)
        if done.returncode:
            missing(f"npm could not install {package}@{version}: {done.stderr.decode()[-200:]}", required_by)
    return folder / "node_modules"


def missing(why: str, required_by: str) -> NoReturn:
    if os.environ.get(required_by) == "required":
        pytest.fail(why)
    pytest.skip(why)
