"""What logs that several server processes share must provide. `redis_logs` implements it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from streamgauge.reference_server.sessions.log import EventLog

if TYPE_CHECKING:
    from streamgauge.reference_server.sessions.session import Session

# What can be asked about a stream: report; cancel, which stops it and then reports; audit, of a resumable answer; kept,
# which has an answer without content if the log is kept.
Verb = Literal["report", "cancel", "audit", "kept"]


class Unreachable(Exception):
    """The shared logs, or a process that may have the stream, cannot be reached at this moment.

    The message is one sentence for the client.
    """


class SharedLogs(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def refusal(self) -> str | None:
        """Why nothing can be kept there at this moment; None if it can."""

    def append(self, session: "Session", first: int, events: Sequence[bytes]) -> None:
        """Keep these events, numbered from `first`. Never waits. If keeping them fails, the session's stream fails."""

    def end(self, session: "Session") -> None: ...

    def forget(self, session: "Session") -> None: ...

    async def find(self, id: str) -> EventLog | None:
        """A log that another process writes, with its events so far. It grows for as long as it is read.

        None if nothing is kept. Raises Unreachable.
        """

    async def ask(self, verb: Verb, id: str) -> dict[str, Any] | None:
        """The answer of the process that has this stream, see `Sessions.lookup`; None if no process has it.

        Raises Unreachable.
        """
