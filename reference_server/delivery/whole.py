"""The writer of an answer that is not streamed."""

from collections.abc import Iterable

from streamgauge.reference_server.dialects.question import Writer
from streamgauge.reference_server.model.answer import AnswerEnd
from streamgauge.reference_server.model.steps import Step


class WholeWriter:
    """Collects the steps and writes one document at the end."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._steps: list[Step] = []

    def opening(self) -> bytes:
        return b""

    def write(self, step: Step) -> bytes:
        self._steps.append(step)
        return b""

    def closing(self, end: AnswerEnd) -> bytes:
        return self._writer.whole(self._steps, end)

    def error(self, status: int, message: str) -> bytes:  # noqa: ARG002 - the error becomes a response of its own
        return b""

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        return self._writer.whole(steps, end)
