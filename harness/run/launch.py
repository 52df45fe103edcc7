"""Starts a run as a Locust process: finds the scenario's file, composes the command line and waits for the end."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamgauge.harness import programs
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed
from streamgauge.harness.run.options import locust_options

_NO_RUN = frozenset({"-h", "--help", "-V", "--version"})  # with these, Locust ends before it reads the scenario


def launch(
    scenario: str,
    options: Mapping[str, object],
    passed_on: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    start: Sequence[str] = programs.HEADLESS,
) -> int:
    """Run a scenario to its end. Returns Locust's exit code.

    `options`: values by their names in `run.options`. `passed_on`: more arguments for Locust, unchanged. `environ`: the
    process's environment; None: the same as ours. `start`: `programs.HEADLESS` or `programs.WEB_UI`.
    """
    command = programs.locust_command(locustfile(scenario), *start, *locust_options(options), *passed_on)
    wait = programs.wait_for_run if _NO_RUN.isdisjoint(passed_on) else programs.wait
    return wait(command, environ)


def locustfile(scenario: str) -> Path:
    """The file of a scenario, given by its path or, for a shipped one, by its name. ScenarioError if there is none."""
    if scenario.endswith(".py") or "/" in scenario:
        if not Path(scenario).is_file():
            raise ScenarioError(f"{scenario}: no such file")
        return Path(scenario)
    files = shipped()
    if scenario not in files:
        more = ", or give a path to your own"
        raise ScenarioError(f"no scenario called {scenario!r}; there are {listed(scenario, files, more)}")
    return files[scenario]


def shipped() -> dict[str, Path]:
    """The scenarios that come with streamgauge, by name."""
    package = importlib.util.find_spec("streamgauge.scenarios")
    assert package is not None
    assert package.origin is not None
    return {path.stem: path for path in sorted(Path(package.origin).parent.glob("[a-z]*.py"))}
