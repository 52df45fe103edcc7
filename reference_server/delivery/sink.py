"""The interface between a stream and its connection: a `Sink` takes events, a `Producer` writes them."""

from typing import Protocol

from streamgauge.reference_server.truth import Outcome


class Sink(Protocol):
    """Where events go: a connection, or the log of a resumable answer."""

    full: bool  # takes no more for now; the producer's `resume` will be called

    def write(self, events: bytes) -> None:
        """Take these events. Never blocks and never raises: the producer is told when the client has left."""

    def abort(self) -> None:
        """Cut off a client that does not read."""


class Producer(Protocol):
    """Writes to a connection and is notified about its client: a stream, or a subscriber of a log."""

    ignores_disconnect: bool  # continues to generate after the client has left: the fault `deaf`

    async def wait(self) -> None:
        """Return when nothing more will be written to the sink."""

    def resume(self) -> None:
        """The sink has room again."""

    def disconnected(self) -> None:
        """The client has left."""

    def fail(self, status: int, detail: str, outcome: Outcome = "failed") -> None:
        """End now, with an error for the client."""


class ClientConnection(Sink, Protocol):
    """The connection of a request: `connection.Connection`, or for an answer with faults a `FaultyConnection`."""

    lost: bool  # the client has left
    producer: Producer | None  # what writes to it now; None: nothing does


class NullSink:
    """Discards everything: the sink of a stream whose client has left."""

    full = False

    def write(self, events: bytes) -> None:
        pass

    def abort(self) -> None:
        pass
