"""A real calibration, small: one process and several, the certificate, and a run that is told what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from streamgauge.harness.calibration import machine, measurement
from streamgauge.harness.calibration.measurement import Layout
from streamgauge.harness.record.certificate import Certificate
from tests.support.busy import cores_in_use, cores_until_now
from tests.support.command import PATIENCE
from tests.support.priority import ordinary

BIN = Path(sys.executable).parent
_BUSY = 0.6  # share of the cores; a calibration alone on two cores uses a quarter of them


@pytest.mark.usefixtures("before_others")
def test_a_calibration_runs_and_is_kept_for_the_machine(tmp_path: Path) -> None:
    words = ["--streams", "10", "--seconds", "5", "--plain-only", "--one-core", "-o", "-"]
    before = cores_until_now()
    ended = ordinary(lambda: subprocess.run(
        [BIN / "streamgauge", "calibrate", *words],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    ))  # fmt: skip
    in_use = cores_in_use(before)
    if ended.returncode == 2:
        assert in_use > _BUSY, f"only {in_use:.0%} of the cores were in use: {ended.stderr}"
        assert "no stream completed: the machine is too slow or too busy" in ended.stderr
        return
    assert ended.returncode in {0, 3}, ended.stderr
    kept = json.loads((tmp_path / "streamgauge/certificate.json").read_text())
    assert json.loads(ended.stdout) == kept
    assert kept["valid_for"] == machine.facts()
    (one,) = kept["points"]
    assert (one["streams"], one["processes"], one["tls"]) == (10, 1, False)
    assert one["events_per_second"] < 10 * 55, "ten streams of 50 events a second, with pauses in between"
    assert one["itl_error_p50"] <= one["itl_error_p99"]
    doubt = msgspec.convert(kept, Certificate).points[0].doubt
    assert ended.returncode == (3 if doubt else 0), ended.stderr
    if doubt:  # it says why, and certifies nothing
        assert in_use > _BUSY, f"only {in_use:.0%} of the cores were in use, and nothing is certified: {ended.stderr}"
        assert f"not certified: {doubt}" in ended.stderr
        assert "nothing is certified for 1 process" in ended.stderr
    else:
        assert one["events_per_second"] > 10 * 20
        assert "up to 10 streams of" in ended.stderr
        assert "in 1 process" in ended.stderr


def test_several_servers_share_a_port_and_several_processes_ask_them_over_tls() -> None:
    """As on a machine with many cores, wherever the system puts the processes."""
    among = [Layout(2, [], [[], []])]
    before = cores_until_now()
    made = ordinary(lambda: measurement.calibrate([6], 5, [True], lambda _: None, among))
    (one,) = made.points
    assert (one.streams, one.processes, one.tls) == (12, 2, True)
    assert one.compared > 0.9, "both servers' logs are compared"
    in_use = cores_in_use(before)
    assert one.open > 0.8 or (one.doubt and in_use > _BUSY), f"{in_use:.0%} of the cores were in use: {one}"
