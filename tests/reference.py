"""The reference server as tests use it: the real process, on a free port, with its truth log."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ReferenceServer:
    url: str
    process: "subprocess.Popen[str]"
    _log: Path

    def truth(self) -> list[dict[str, Any]]:
        """The rows of the streams that have ended, in the order of their ends."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@contextlib.contextmanager
def reference_server(*args: str) -> Iterator[ReferenceServer]:
    """A server started with `args` (as `streamgauge serve` takes them), stopped on leaving.

    Its rows in the truth log appear when a stream has ended: after the client saw the end, the row may take a moment.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "truth.jsonl"
        command = [sys.executable, "-m", "reference_server", "--port", "0", "--truth", str(log), *args]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, f"{' '.join(command)} ended before it listened"
                yield ReferenceServer(line.rpartition(" ")[2].strip(), process, log)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
