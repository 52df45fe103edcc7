"""A real calibration, small."""

import json
import os
import subprocess
import sys
from pathlib import Path

from streamgauge.harness.calibration import resolution

BIN = Path(sys.executable).parent


def test_a_calibration_runs_and_is_kept_for_the_machine(tmp_path: Path) -> None:
    ended = subprocess.run(
        [BIN / "streamgauge", "calibrate", "--streams", "10", "--seconds", "6", "--plain-only"],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    kept = json.loads((tmp_path / "streamgauge/calibration.json").read_text())
    assert kept["machine"] == resolution.machine()
    (one,) = kept["points"]
    assert one["streams"] == 10
    assert 10 * 20 < one["events_per_second"] < 10 * 55, "ten streams of 50 events a second, with pauses in between"
    assert one["itl_error_p50"] <= one["itl_error_p99"]
    assert "this machine: " in ended.stdout
