"""What sits on the socket, by name. A new client stack is one file here and one line in `CLIENTS`."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.drive.behaviour import Plan
from harness.drive.clients.site import Site
from harness.drive.clients.transcript import Interrupted
from harness.drive.clients.wire import WireClient
from harness.drive.network import Link
from harness.drive.prompts import Prompt
from harness.errors import ScenarioError
from harness.observation import StreamObservation

__all__ = ["CLIENTS", "Client", "Interrupted", "Site", "find"]


class Client(Protocol):
    """One person's way to the server. Not for two streams at once."""

    def stream(
        self, prompt: Prompt, plan: Plan, link: Link, due_at: int, identity: Mapping[str, Any]
    ) -> StreamObservation: ...

    def close(self) -> None: ...


CLIENTS: dict[str, Callable[..., Client]] = {
    "wire": WireClient,
}


def find(name: str) -> Callable[..., Client]:
    """The client stack of that name: called with a Site and `fresh`. ScenarioError, listing what exists, if none."""
    if name not in CLIENTS:
        raise ScenarioError(f"no client called {name!r}; there are {', '.join(CLIENTS)}")
    return CLIENTS[name]
