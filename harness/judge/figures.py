"""Numbers as text for people: with unit, count and interval, rounded to the digits that mean something. Pure."""

import math

from streamgauge.harness.counting import in_seconds, is_long, three_digits, took
from streamgauge.harness.counting import some as some  # noqa: PLC0414 - the other figures' importers find it here
from streamgauge.harness.judge.measure.statistics import Interval

NONE = "–"  # nothing was observed
_COUNTED = {"stalls", "chunks", "tokens"}  # units of whole numbers


def figure(value: float | None, unit: str) -> str:
    """`412 ms`, `5.24 s`, `0.42 %` (a ratio of 0.0042), `1,250 tokens/s`; `∞` for +inf, `–` for None."""
    if value is None:
        return NONE
    if unit in _COUNTED and value == 1:
        return f"1 {unit.removesuffix('s')}"
    if math.isinf(value):
        return "∞"  # streams failed: neither milliseconds nor anything else
    return took(value) if unit == "ms" else f"{_number(value, unit)} {'%' if unit == 'ratio' else unit}"


def money(value: float | None, currency: str) -> str:
    """`12.35 USD`, `0.004123 USD`: four digits that mean something, and never less than two after the point."""
    if value is None:
        return NONE
    return f"{value:,.2f} {currency}" if 10 <= value < 1e15 or value == 0 else f"{value:.4g} {currency}"


def span(seconds: float) -> str:
    """`42 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def finite(value: float | None) -> float | None:
    """The value; None if it is None or +∞, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def between(interval: Interval, unit: str) -> str:
    """`389–447`, without the unit, but `0.951–1.24 s`; an end that does not exist for lack of samples is `?`."""
    in_s = unit == "ms" and any(end is not None and math.isfinite(end) and is_long(end) for end in interval)
    ends = ("?" if end is None else _end(end, unit, in_s) for end in interval)
    return "–".join(ends) + (" s" if in_s else "")


def _end(value: float, unit: str, in_s: bool) -> str:
    return in_seconds(value) if in_s and math.isfinite(value) else _number(value, unit)


def between_or(absent: str, interval: Interval | None, unit: str) -> str:
    """As `between`; `absent` if no end is known, or there is no interval."""
    return absent if interval is None or interval == (None, None) else between(interval, unit)


def estimate(value: float | None, interval: Interval | None, n: int, unit: str) -> str:
    """`412 ms (389–447, n = 1,200)`."""
    if value is None:
        return f"{NONE} (n = {n:,})"
    ends = "" if interval is None or interval == (None, None) else f"{between(interval, unit)}, "
    return f"{figure(value, unit)} ({ends}n = {n:,})"


def change(value: float, unit: str) -> str:
    """`+8.1 %` for a ratio of 1.081. For a metric whose unit is a ratio: `+1.2 points` for a difference of 0.012."""
    if math.isinf(value) or math.isnan(value):
        return "∞"
    percent = 100 * (value if unit == "ratio" else value - 1)
    places = 0 if abs(percent) >= 10 else 1
    return f"{round(percent, places) + 0.0:+,.{places}f} {'points' if unit == 'ratio' else '%'}"


def changes(interval: Interval, unit: str) -> str:
    """`+1.2 % to +8.1 %`; an empty text if an end is None."""
    low, high = interval
    return "" if low is None or high is None else f"{change(low, unit)} to {change(high, unit)}"


def _number(value: float, unit: str) -> str:
    if math.isinf(value):
        return "∞"
    if unit == "ratio":
        return _percent(100 * value)
    if unit in _COUNTED and value == round(value):
        return f"{value:,.0f}"
    return three_digits(value)


def _percent(value: float) -> str:
    """With enough decimals that only exactly 0 and 100 are written as 0 and 100."""
    if value in {0.0, 100.0}:
        return f"{value:.0f}"
    places = 1 if 1 <= value <= 99 else 2
    while places < 6 and float(f"{value:.{places}f}") in {0.0, 100.0}:
        places += 1
    return f"{value:.{places}f}"
