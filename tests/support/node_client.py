"""The AI SDK's own client, in Node: npm installs it below the user's cache, and one process asks all questions."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support import npm
from tests.support.command import PATIENCE

VERSION = "6.0.326"
_SCRIPT = Path(__file__).with_name("read_ai_sdk.mjs")


def read(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How the client reads the answer of each `{"url", "headers"}`. Skips the test where it cannot be installed."""
    modules = npm.installed("ai", VERSION, "AI_SDK")
    if shutil.which("node") is None:
        npm.missing("no node to run the AI SDK with", "AI_SDK")
    done = subprocess.run(
        ["node", str(_SCRIPT)],
        input=json.dumps(questions).encode(),
        env={**os.environ, "NODE_MODULES": str(modules)},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
