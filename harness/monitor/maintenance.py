"""Maintenance windows: the times in which probes count in no service level. Pure; all times are UTC."""

from collections.abc import Sequence

from streamgauge.harness.config.schema import Maintenance

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 86_400
_MONDAY = 4 * _DAY  # 1970-01-05, seconds since 1970


def covers(windows: Sequence[Maintenance], target: str, moment: float) -> bool:
    """Whether a target is in maintenance at a moment, seconds since 1970."""
    return any((not each.targets or target in each.targets) and _covers(each, moment) for each in windows)


def _covers(window: Maintenance, moment: float) -> bool:
    if window.begins is not None and window.ends is not None:
        return window.begins.timestamp() <= moment < window.ends.timestamp()
    assert window.day is not None
    assert window.at is not None
    assert window.lasts is not None
    hour, minute = window.at.split(":")
    at, lasts = int(hour) * 3_600 + int(minute) * 60, window.lasts / 1e9
    if window.day == "every":
        return (moment - at) % _DAY < lasts
    begins = _MONDAY + _DAYS.index(window.day) * _DAY + at
    return (moment - begins) % (7 * _DAY) < lasts
