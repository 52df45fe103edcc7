"""What a scenario's user classes do, so that two processes or two runs can compare it."""

from collections.abc import Mapping
from typing import Any

from locust.env import Environment

from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive.users import StreamUser
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run.messages import StartRun


def traits_of(environment: Environment, networks: Mapping[str, Profile]) -> dict[str, dict[str, Any]]:
    """By name of the user class."""
    return {
        user.__name__: {
            **user.traits(networks),
            "weight": user.weight,
            "fixed_count": user.fixed_count,
        }
        for user in sorted(environment.user_classes, key=lambda user: str(user.__name__))
        if issubclass(user, StreamUser)
    }


def check(environment: Environment, order: StartRun) -> None:
    """ScenarioError if this worker's users would do something else than the master expects of them."""
    here = traits_of(environment, order.networks)
    for user, there in order.users.items():
        if user not in here:
            raise ScenarioError(f"the scenario here has no user class {user}; it has {', '.join(here) or 'none'}")
        # Not the weights: the master alone decides how many users of a class there are.
        traits = (here[user].keys() | there.keys()) - {"weight", "fixed_count"}
        if differing := sorted(trait for trait in traits if here[user].get(trait) != there.get(trait)):
            raise ScenarioError(
                f"{user} differs from the master's in its {', '.join(differing)}: "
                f"copy the files that the scenario reads to this machine, too"
            )
