"""A length of time with its unit, as the config and the SLA rules write it."""

import re

from streamgauge.harness.config.share import Share

_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_UNITS["d"] = 24 * _UNITS["h"]
_LONGEST = 100 * 365 * _UNITS["d"]  # fits into 64 bits, also if it is added to a clock's time
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)")


class Duration(int):
    """Nanoseconds; written as `250ms`, `1.5s`, `2m`."""

    @classmethod
    def parse(cls, text: object) -> "Duration":
        """ValueError for anything but a number with a unit."""
        match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f'{text!r} is not a duration: write a number and a unit, as in "250ms", "1.5s" or "2m"')
        length = float(match[1]) * _UNITS[match[2]]
        if length >= _LONGEST:
            raise ValueError(f"{str(text)[:40]!r} is longer than a century")
        return cls(round(length))

    def __str__(self) -> str:
        """In minutes, s, ms or µs: in the largest that gives a whole number."""
        unit = next(unit for unit in ("m", "s", "ms", "us") if self % _UNITS[unit] == 0 or unit == "us")
        return f"{self // _UNITS[unit]}{unit}"


def decode(kind: type, value: object) -> object:
    """msgspec's `dec_hook` for every struct that has a Duration or a Share in it."""
    if kind in {Duration, Share}:
        return kind.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a new type in the schema needs a line above
