"""The result of `streamgauge calibrate`: how exact the recorded times are on this machine. Kept for later runs.

The user's state folder holds one calibration in a small JSON file. It is valid for the machine that the file names.
"""

import os
import platform
from pathlib import Path

import msgspec

from streamgauge.harness.errors import StoreError

GOOD_ENOUGH = 1.0  # ms: the largest p99 error with which a load counts as carried


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The error at one load. Times in ms, as absolute values; events are content chunks."""

    streams: int
    tls: bool
    ttft_error_p99: float
    itl_error_p50: float
    itl_error_p99: float
    events_per_second: float
    events_per_cpu_second: float  # of the load generator
    server_late_p99: float  # how late the server sent by its own schedule; no error of the load generator
    saturated_share: float  # of the load generator's reads: those that came late

    @property
    def error(self) -> float:
        return max(self.ttft_error_p99, self.itl_error_p99)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    machine: str
    made_at: str  # ISO 8601, UTC
    streamgauge: str
    points: list[Point]

    def carried(self, *, tls: bool) -> Point | None:
        """The largest load with a small enough error at it and at all smaller loads; None if there is none."""
        best = None
        for point in sorted((one for one in self.points if one.tls is tls), key=lambda one: one.streams):
            if point.error > GOOD_ENOUGH:
                return best
            best = point
        return best

    def sentence(self) -> str:
        """For people: "± 0.1 ms up to 1,000 streams"."""
        parts = []
        for tls in (False, True):
            loads = [point for point in self.points if point.tls is tls]
            point = self.carried(tls=tls)
            if point is not None:
                error = max(one.error for one in loads if one.streams <= point.streams)
                parts.append(f"± {error:.2g} ms up to {point.streams:,} streams{' over TLS' if tls else ''}")
            elif loads:
                parts.append(f"worse than ± {GOOD_ENOUGH:g} ms{' over TLS' if tls else ''}")
        return ", ".join(parts)


def machine() -> str:
    """The machine that a calibration is valid for: if any part of this text changes, calibrate again."""
    return f"{platform.node()}, {os.cpu_count()} cpus, {platform.system()} {platform.release()} {platform.machine()}"


def path() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "streamgauge" / "calibration.json"


def keep(calibration: Calibration) -> None:
    """StoreError if the state folder cannot be written."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        path().write_bytes(msgspec.json.format(msgspec.json.encode(calibration)))
    except OSError as fault:
        raise StoreError(f"{path()}: cannot be written: {fault.strerror}") from None


def known() -> Calibration | None:
    """This machine's calibration; None if there is none, or if it cannot be read."""
    try:
        calibration = msgspec.json.decode(path().read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return calibration if calibration.machine == machine() else None
