"""The host that a run tests."""

from locust.env import Environment

from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.errors import TargetError


def host_of(environment: Environment) -> str:
    """The target's URL. TargetError if there is none, more than one, or one that does not resolve."""
    hosts = {environment.host or user.host for user in environment.user_classes} - {None}
    if not hosts:
        raise TargetError("no host to test: give one with -H, as in -H https://staging.example")
    if len(hosts) > 1:
        raise TargetError(f"one run has one host; the user classes name {', '.join(sorted(hosts))}: choose with -H")
    host: str = hosts.pop()
    Endpoint.of(host).resolve()
    return host
