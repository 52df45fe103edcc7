"""What sits on the socket, by name. A new client stack is one file here and one line in `CLIENTS`."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.config import Target
from harness.drive.behaviour import Plan
from harness.drive.clients.resumption import Place
from harness.drive.clients.site import Site
from harness.drive.clients.transcript import Interrupted
from harness.drive.clients.wire import WireClient
from harness.drive.network import Link
from harness.drive.prompts import Prompt
from harness.errors import ScenarioError
from harness.observation import StreamObservation

__all__ = ["CLIENTS", "Client", "Interrupted", "Place", "Site", "find"]


class Client(Protocol):
    """One person's way to the server. Not for two streams at once."""

    retry_after: float | None  # seconds, as the last answer said
    place: Place | None  # in the last answer, if that broke off and the plan is to go on

    def __init__(self, site: Site, *, fresh: bool = False) -> None: ...

    @classmethod
    def check(cls, target: Target) -> None: ...

    def stream(
        self,
        prompt: Prompt,
        plan: Plan,
        link: Link,
        due_at: int,
        identity: Mapping[str, Any],
        place: Place | None = None,
    ) -> StreamObservation: ...

    def close(self) -> None: ...


def _wire() -> type[Client]:
    return WireClient


def _httpx() -> type[Client]:
    from harness.drive.clients.httpx_stack import HttpxClient  # noqa: PLC0415 - 0.1 s that only its users should pay

    return HttpxClient


def _anthropic() -> type[Client]:
    from harness.drive.clients.anthropic_stack import AnthropicClient  # noqa: PLC0415 - 1 s and 40 MB, as above

    return AnthropicClient


CLIENTS: dict[str, Callable[[], type[Client]]] = {
    "wire": _wire,
    "httpx": _httpx,
    "anthropic": _anthropic,
}


def find(name: str) -> type[Client]:
    """The client stack of that name, imported. ScenarioError, listing what exists, if there is none."""
    if name not in CLIENTS:
        raise ScenarioError(f"no client called {name!r}; there are {', '.join(CLIENTS)}")
    return CLIENTS[name]()
