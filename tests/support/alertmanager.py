"""A real Alertmanager on loopback, which tells a webhook of each alert and each resolution at once."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import PATIENCE

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
REQUIRED = os.environ.get("ALERTMANAGER") == "required"  # as in CI, where a skipped test would pass unseen
needs_alertmanager = pytest.mark.skipif(
    PROGRAM is None and not REQUIRED, reason="no Alertmanager (Debian: prometheus-alertmanager)"
)
_CONFIG = """
route: {{ receiver: test, group_by: [slo, target], group_wait: 10ms, group_interval: 100ms, repeat_interval: 1h }}
receivers:
  - name: test
    webhook_configs: [{{ url: "{url}", send_resolved: true }}]
"""


@contextmanager
def alertmanager(folder: Path, notified: str) -> Iterator[str]:
    """Its URL; `notified` is the webhook's."""
    assert PROGRAM is not None, "Alertmanager is required here: install Debian's prometheus-alertmanager"
    (folder / "config.yml").write_text(_CONFIG.format(url=notified))
    command = [PROGRAM, f"--config.file={folder}/config.yml", f"--storage.path={folder}", "--cluster.listen-address="]
    log = folder / "log"
    with (
        log.open("w") as said,
        subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=said, stdout=said) as process,
    ):
        try:
            yield _listens(log, process)
        finally:
            process.terminate()


def _listens(log: Path, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        for word in log.read_text().split():
            if word.startswith("address=127.0.0.1:"):
                return f"http://{word.removeprefix('address=')}"
        time.sleep(0.02)
    raise AssertionError(log.read_text())
