"""Text from an option or a request header → a value. Each parser raises ValueError with one sentence for the user."""

import math
import re
from collections.abc import Callable

_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s|m)")
_TOKEN_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_LONGEST_DURATION = 10 * _UNITS["m"]
_LATEST_MOMENT = 24 * 60 * _UNITS["m"]
_MOST_TOKENS = 100_000


def duration(text: str) -> int:
    """`200ms`, `1.5s` → ns, at most 10 minutes."""
    nanoseconds = _nanoseconds(text)
    if nanoseconds > _LONGEST_DURATION:
        raise ValueError(f"{text!r} is too long: at most 10m")
    return nanoseconds


def moment(text: str) -> int:
    """A time since the server's start, `90s` or `30m` → ns, at most a day."""
    nanoseconds = _nanoseconds(text)
    if nanoseconds > _LATEST_MOMENT:
        raise ValueError(f"{text!r} is too late: at most {_LATEST_MOMENT // _UNITS['m']}m after the server's start")
    return nanoseconds


def _nanoseconds(text: str) -> int:
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{text!r} is not a duration: write a number and a unit, as in "200ms" or "1.5s"')
    return round(float(found[1]) * _UNITS[found[2]])


def token_range(least: int) -> Callable[[str], tuple[int, int]]:
    """A parser of `100` or `60-240` → the smallest and the largest number of tokens, from `least` on."""

    def parse(text: str) -> tuple[int, int]:
        found = _TOKEN_RANGE.fullmatch(text.strip())
        if not found:
            raise ValueError(f'{text!r} is not a number of tokens: write a number or a range, as in "100" or "60-240"')
        shortest, longest = int(found[1]), int(found[2] or found[1])
        if not least <= shortest <= longest <= _MOST_TOKENS:
            raise ValueError(
                f"{text!r} is out of range: from {least} to {_MOST_TOKENS} tokens, the smaller number first"
            )
        return shortest, longest

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """A parser of numbers from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"{text!r} is not allowed: write a number from {least:g} to {most:g}")
        return value

    return parse


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text.strip()) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not allowed: write a whole number from {least} to {most}")
        return int(text)

    return parse
