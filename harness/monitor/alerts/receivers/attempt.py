"""One attempt to deliver an alert, and how it can fail."""

from dataclasses import dataclass

from streamgauge.harness.monitor.alerts.message import Alert

LONGEST_PAUSE = 3_600.0  # seconds that a receiver can ask us to wait


@dataclass(frozen=True, slots=True)
class Attempt:
    alert: Alert
    at: float  # now, seconds since 1970
    may_be_repeated: bool = False  # whether an attempt before this one may have arrived

    @property
    def id(self) -> str:
        """The same for all attempts to tell a receiver this: receivers recognise a repetition by it."""
        return f"{self.alert.key}.{self.alert.status}"


class Refused(Exception):
    """The receiver will not take this alert, however often it is sent."""


class Failed(Exception):
    """Not delivered, or not certainly; to be tried again."""

    def __init__(self, fault: str, *, may_have_arrived: bool = False, pause: float | None = None) -> None:
        """`pause`: the seconds that the receiver asked us to wait."""
        super().__init__(fault)
        self.may_have_arrived = may_have_arrived
        self.pause = pause
