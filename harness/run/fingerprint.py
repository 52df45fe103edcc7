"""What must be equal for two runs to be comparable, and what the run was measured with."""

import os
import platform
from pathlib import Path
from typing import Any

import locust
import msgspec
from locust.env import Environment

from streamgauge import __version__
from streamgauge.harness.calibration import kept
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import public
from streamgauge.harness.drive.wire.stamps import stamped_by
from streamgauge.harness.run.open_load import OpenLoad
from streamgauge.harness.run.scenario_file import content_hash
from streamgauge.harness.run.settings import Settings
from streamgauge.harness.run.user_classes import traits_of


def fingerprint(environment: Environment, settings: Settings, load: OpenLoad) -> dict[str, Any]:
    """Two runs are comparable if these values are equal."""
    target, networks, options = settings.config.target, settings.config.networks, environment.parsed_options
    return {
        "scenario": scenario_of(environment),
        "scenario_file": content_hash(environment.parsed_locustfiles or []),
        "streamgauge": _generation(__version__),
        "stamps": stamped_by(),
        "users": traits_of(environment, networks),
        "load": _load(environment, load),
        "run_time": options.run_time,
        # Only if there is one: baselines that an older version stored stay comparable with runs that have none.
        **({"warm_up": str(settings.warm_up)} if settings.warm_up else {}),
        "protocol": target.protocol,
        **_request(target),
        "model": target.model,
        "max_tokens": target.max_tokens,
        "seed": settings.seed,
    }


def _request(target: Target) -> dict[str, Any]:
    """What the config changes in the requests. Variables stay as they are written."""
    shown = public(target)
    return {key: shown[key] for key in ("body", "omit", "request", "history") if key in shown}


def scenario_of(environment: Environment) -> str:
    """The scenario's name: that of its file."""
    return Path((environment.parsed_locustfiles or ["scenario"])[0]).stem


def instrument() -> dict[str, Any]:
    """The versions and the machine that a run was measured with. Runs are comparable even if these differ."""
    known = kept.known()
    return {
        "resolution": known.sentence,
        **({"certificate": msgspec.to_builtins(known.certificate)} if known.certificate else {}),
        "stamps": stamped_by(),
        "streamgauge": __version__,
        "locust": locust.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


def _load(environment: Environment, load: OpenLoad) -> Any:
    options = environment.parsed_options
    if load.name is not None:
        return {"users": options.num_users, "arrivals": load.name}
    if environment.shape_class:
        return type(environment.shape_class).__name__
    return {"users": options.num_users, "spawn_rate": options.spawn_rate}


def _generation(version: str) -> str:
    """The part of a version within which figures are comparable: 1.4.2 → 1; before version 1: 0.1.0 → 0.1."""
    major, minor, *_ = version.split(".")
    return major if major != "0" else f"0.{minor}"
