"""A calibration: which load its points say the machine carries, and for which machine it is valid."""

from pathlib import Path

import pytest

from streamgauge.harness.calibration import resolution
from streamgauge.harness.calibration.resolution import Calibration, Point
from streamgauge.harness.errors import StoreError
from tests.support.command import invoke


def point(streams: int, error: float, *, tls: bool = False) -> Point:
    return Point(
        streams=streams, tls=tls, ttft_error_p99=error / 2, itl_error_p50=0.0, itl_error_p99=error,
        events_per_second=1.0, events_per_cpu_second=1.0, server_late_p99=0.0, saturated_share=0.0,
    )  # fmt: skip


def calibration(*points: Point, machine: str | None = None) -> Calibration:
    return Calibration(
        machine=machine or resolution.machine(), made_at="2026-11-23T09:00:00+00:00", streamgauge="0", points=[*points]
    )


def test_a_machine_carries_the_loads_below_the_first_one_with_a_large_error() -> None:
    made = calibration(point(1000, 0.4), point(50, 0.03), point(500, 7.0), point(200, 0.2))
    best = made.carried(tls=False)
    assert best is not None
    assert best.streams == 200, "a good figure beyond a bad one is luck"
    assert made.sentence() == "± 0.2 ms up to 200 streams"


def test_plain_http_and_tls_are_calibrated_separately() -> None:
    made = calibration(point(50, 0.1), point(50, 0.3, tls=True), point(200, 9.0, tls=True))
    assert made.sentence() == "± 0.1 ms up to 50 streams, ± 0.3 ms up to 50 streams over TLS"
    assert calibration(point(50, 3.0)).sentence() == "worse than ± 1 ms"
    assert calibration(point(50, 3.0)).carried(tls=False) is None


def test_a_calibration_of_another_machine_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert resolution.known() is None
    resolution.keep(calibration(point(50, 0.1)))
    assert resolution.known() == calibration(point(50, 0.1))
    resolution.keep(calibration(point(50, 0.1), machine="another"))
    assert resolution.known() is None
    resolution.path().write_text("{broken")
    assert resolution.known() is None


def test_a_read_only_state_folder_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"calibration\.json: cannot be written"):
        resolution.keep(calibration(point(50, 0.1)))


def test_streams_that_are_not_numbers_are_an_error_of_one_line() -> None:
    ended = invoke("calibrate", "--streams", "50,many")
    assert ended.exit_code == 2
    assert ended.stderr == "streamgauge: --streams '50,many': write numbers with commas in between, as in 50,200\n"
