"""The processes of a monitor: one of Locust for each target, and one that judges what they have stored."""

import os
import sys
from hashlib import sha256
from math import ceil

from streamgauge.harness import programs
from streamgauge.harness.config.monitor_checks import TARGET
from streamgauge.harness.config.schema import Config, MonitorTarget
from streamgauge.harness.monitor.address import TOKEN, parse
from streamgauge.harness.monitor.supervisor import Part
from streamgauge.harness.run import labels
from streamgauge.harness.run.launch import locustfile
from streamgauge.harness.run.options import locust_options

JUDGE = "the judge"
_SILENCE = 120.0  # seconds without a word of the judge, which tells of each round
_MOST_USERS = 100  # people of one target: so many probes can be under way at once


def parts(config: Config, config_path: str, db: str, http: str | None = None) -> list[Part]:
    """`http`: the address of the pages, if there are to be any. ScenarioError for a scenario that does not exist."""
    served = [] if http is None else [parse(http, os.environ.get(TOKEN)).url]
    judge = [sys.executable, "-m", "streamgauge.harness.monitor", config_path, db, *served]
    found = [Part(JUDGE, judge, _SILENCE), *(_prober(config, each, config_path, db) for each in config.monitor.target)]
    if http is not None or config.monitor.otlp is not None:
        pages = [sys.executable, "-m", "streamgauge.harness.monitor.web", config_path, db, http or ""]
        found.append(Part("the server of the pages", pages))
    return found


def prober_of(target: str) -> str:
    """The name of the part that probes this target."""
    return f"the prober of {target}"


def _prober(config: Config, target: MonitorTarget, config_path: str, db: str) -> Part:
    scenario = locustfile(target.scenario or config.monitor.scenario)
    timeouts = config.target.timeouts.total / config.monitor.every
    options = {
        "host": target.host,
        "config": config_path,
        "db": db,
        "probe": target.name,
        "label": labels.written({**target.labels, TARGET: target.name}),
        "seed": int.from_bytes(sha256(target.name.encode()).digest()[:4]),
        "users": min(ceil(timeouts) + 1, _MOST_USERS),
        "line": target.name,
    }
    return Part(prober_of(target.name), programs.locust_command(scenario, *programs.HEADLESS, *locust_options(options)))
