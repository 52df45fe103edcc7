"""A share of a whole, as the config writes it."""

import math
import re

_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class Share(float):
    """From 0 to 1; written as `99.5%` or `0.995`."""

    @classmethod
    def parse(cls, written: object) -> "Share":
        """ValueError for anything but a percentage or a number from 0 to 1."""
        match = _TEXT.fullmatch(written.strip()) if isinstance(written, str) else None
        if match is not None:
            share = float(match[1]) / 100
        elif isinstance(written, int | float) and not isinstance(written, bool):
            share = float(written)
        else:
            raise ValueError(f'{written!r} is not a share: write a percentage, as in "99.5%"')
        if not 0 <= share <= 1 or math.isnan(share):
            raise ValueError(f'{written!r} is not from 0 to 100 %: write a percentage, as in "99.5%"')
        return cls(share)

    def __str__(self) -> str:
        return f"{self * 100:.10g} %"
