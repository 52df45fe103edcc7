"""The input and the output of a client: one stream's question and reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.reading.resumption import Place
from streamgauge.harness.drive.reading.transcript import Transcript
from streamgauge.harness.record.observation import StreamObservation


@dataclass(frozen=True, slots=True)
class Question:
    prompt: Prompt
    plan: Plan  # how the person behaves
    link: Link  # for this stream alone
    due_at: int  # CLOCK_MONOTONIC ns
    identity: Mapping[str, Any]  # the fields of the record that say which stream it is
    place: Place | None = None  # where to resume a broken answer; None: ask for a new one
    watch: Callable[[Transcript], None] = lambda _: None  # is given all that came, before the record is made of it

    @property
    def last_id(self) -> str | None:
        """The `Last-Event-ID` to send; None: send none."""
        return None if self.place is None else self.place.last_id


@dataclass(frozen=True, slots=True)
class Reply:
    observation: StreamObservation
    place: Place | None = None  # where the answer broke off, if it can be resumed and the plan says so
    text: str = ""  # of the answer, as far as it came; kept only if target.history is "real"

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked to wait; None: it did not ask."""
        asked = self.observation.retry_after
        return None if asked is None else asked / 1e9
