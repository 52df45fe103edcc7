"""The client stacks, by name. A new one is one file here and one line in `CLIENTS`.

question    what a client is asked, and its reply
wire        the default client, on a stamped socket
attempt     one try at one stream
deadlines   when a stream stops waiting
library     the wire client with an HTTP library above it
httpx       such a client: httpx
anthropic   such a client: Anthropic's SDK
"""

from collections.abc import Callable
from typing import Protocol

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.site import Site
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed


class Client(Protocol):
    """One person's client: one stream at a time."""

    def __init__(self, site: Site, *, fresh: bool = False) -> None: ...

    @classmethod
    def check(cls, target: Target) -> None: ...

    def prepare(self) -> None: ...

    def stream(self, question: Question) -> Reply: ...

    @property
    def connected(self) -> bool:
        """Whether it keeps a connection that the server has not closed, for the next stream."""
        ...

    def hang_up(self) -> None:
        """Close that connection."""

    def close(self) -> None: ...


def _wire() -> type[Client]:
    return WireClient


def _httpx() -> type[Client]:
    from streamgauge.harness.drive.clients.httpx import HttpxClient  # noqa: PLC0415 - slow: 0.1 s

    return HttpxClient


def _anthropic() -> type[Client]:
    from streamgauge.harness.drive.clients.anthropic import AnthropicClient  # noqa: PLC0415 - slow: 1 s, 40 MB

    return AnthropicClient


CLIENTS: dict[str, Callable[[], type[Client]]] = {
    "wire": _wire,
    "httpx": _httpx,
    "anthropic": _anthropic,
}


def find(name: str) -> type[Client]:
    """The client stack of that name, imported. ScenarioError, listing what exists, if there is none."""
    if name not in CLIENTS:
        raise ScenarioError(f"no client called {name!r}; there are {listed(name, CLIENTS)}")
    return CLIENTS[name]()
