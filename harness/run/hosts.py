"""The host of a run: which URL it is, and whether the config's secrets may be sent there.

Before each run, Locust's web UI can name another host. If the config has secrets (headers, credentials, or `${NAME}`
anywhere in the target), a run is possible only on a host that the process was started with. Two URLs are the same host
if scheme, name and port are equal.
"""

from typing import TYPE_CHECKING

from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import holds_secrets
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.errors import TargetError

if TYPE_CHECKING:
    from locust.env import Environment  # without it, the tests need no Locust in their process


class Hosts:
    def __init__(self, environment: "Environment", target: Target) -> None:
        """Make it at the process's start, before anybody can have changed the host. TargetError for a wrong URL."""
        self._environment = environment
        self._secrets = holds_secrets(target)
        self._first = sorted(Endpoint.of(url).origin for url in _named(environment))

    def of_next_run(self) -> str:
        """The target's URL. TargetError if there is none, more than one, or one that may not be."""
        named = _named(self._environment)
        if not named:
            raise TargetError("no host to test: give one with -H, as in -H https://staging.example")
        if len(named) > 1:
            raise TargetError(f"one run has one host; the user classes name {', '.join(sorted(named))}: choose with -H")
        host = named.pop()
        self.check(host)
        return host

    def resolve(self, host: str) -> None:
        """TargetError if its name does not resolve."""
        Endpoint.of(host).resolve()

    def check(self, host: str) -> None:
        """TargetError if `host` is not a URL, or may not have the config's secrets."""
        origin = Endpoint.of(host).origin
        if not self._secrets or origin in self._first:
            return
        first = f"on {' and '.join(self._first)}" if self._first else "without a host"
        raise TargetError(
            f"host {host!r} is refused: the config's secrets are sent only to the host that the process was started "
            f"with, and it was started {first}; start it anew with -H {origin}"
        )


def _named(environment: "Environment") -> set[str]:
    return {str(host) for user in environment.user_classes if (host := environment.host or user.host)}
