"""What a load is counted in: users, or with --open streams that become due. Pure.

A search is over whole numbers. So a rate is counted per minute, and told per second.
"""

from enum import StrEnum

from streamgauge.harness.judge.figures import some


class Unit(StrEnum):
    USERS = "users"
    RATE = "streams per minute"

    def amount(self, number: float) -> str:
        """`84 users`, `12.5 streams per second`."""
        if self is Unit.RATE:
            return f"{self.plain(number)} streams per second"
        return some(int(number), "user")

    @property
    def least(self) -> int:
        """Nothing is visited below. At a stream in four seconds, it takes two minutes to see that 30 are bad."""
        return 15 if self is Unit.RATE else 1

    @property
    def axis(self) -> str:
        """The title of a chart's axis."""
        return "streams due per second" if self is Unit.RATE else "users"

    def short(self, number: float) -> str:
        """What follows the number alone, in a column."""
        return "per second" if self is Unit.RATE else "user " if number == 1 else "users"

    def plain(self, number: float) -> str:
        """The number alone. A fitted number of users has a digit after the point below 10."""
        if self is Unit.RATE:
            return f"{number / 60:,.3g}"
        return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"

    def shown(self, number: float) -> float:
        """For the axis of a chart."""
        return number / 60 if self is Unit.RATE else number
