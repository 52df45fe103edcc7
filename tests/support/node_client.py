"""The AI SDK's own client, in Node: npm installs it below the user's cache, and one process asks all questions."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

VERSION = "6.0.326"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge-tests" / f"ai-{VERSION}"
_SCRIPT = Path(__file__).with_name("read_ai_sdk.mjs")


def read(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How the client reads the answer of each `{"url", "headers"}`. Skips the test where it cannot be installed."""
    done = subprocess.run(
        ["node", str(_SCRIPT)],
        input=json.dumps(questions).encode(),
        env={**os.environ, "NODE_MODULES": str(_installed() / "node_modules")},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _installed() -> Path:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            _missing(f"no {program} to run the AI SDK with")
    if not (_CACHE / "node_modules" / "ai" / "package.json").exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(_CACHE), f"ai@{VERSION}"]
        done = subprocess.run(npm, capture_output=True, timeout=300, check=False)
        if done.returncode:
            _missing(f"npm could not install ai@{VERSION}: {done.stderr.decode()[-200:]}")
    return _CACHE


def _missing(why: str) -> None:
    if os.environ.get("AI_SDK") == "required":
        pytest.fail(why)
    pytest.skip(why)
