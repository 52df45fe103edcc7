"""Numbers as people write them: with a noun, or with the unit of time that they would use."""

SECOND = 1_000  # ms: from here on, people read seconds


def some(n: int, singular: str, plural: str | None = None) -> str:
    """`1 stream`, `1,200 streams`. `plural`: if it is not the singular with an s."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def took(ms: float) -> str:
    """`412 ms`, `5.24 s`, `23.3 s`; a limit or another round figure without zeros: `1.5 s`, `2 s`."""
    return f"{in_seconds(ms)} s" if is_long(ms) else f"{three_digits(ms)} ms"


def is_long(ms: float) -> bool:
    """Whether it is written in seconds."""
    return round(abs(ms)) >= SECOND


def in_seconds(ms: float) -> str:
    """Without the unit."""
    ms = round(ms, 3)
    return f"{ms / SECOND:,.10g}" if ms % 100 == 0 else three_digits(ms / SECOND)


def three_digits(value: float) -> str:
    """Three significant digits below 100, whole numbers from 100 on; never more than three decimals."""
    size = abs(round(value, 3))  # 0.9996 is 1.00
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return "0" if value == 0 else f"{value:,.{places}f}"
