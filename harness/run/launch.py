"""A run as a process: finds the scenario's file, composes Locust's command line and waits for the end."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamgauge.harness import programs
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run.options import locust_options


def launch(
    scenario: str,
    options: Mapping[str, object],
    passed_on: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a scenario to its end; Locust's exit code.

    `options` by their names in `run.options`; `passed_on` goes to Locust as it is; `environ` None is our own.
    """
    command = programs.locust_command(locustfile(scenario), *locust_options(options), *passed_on)
    return programs.wait(command, environ)


def locustfile(scenario: str) -> Path:
    """The file of a scenario, which is a path or the name of a shipped one. ScenarioError if there is none."""
    if scenario.endswith(".py") or "/" in scenario:
        if not Path(scenario).is_file():
            raise ScenarioError(f"{scenario}: no such file")
        return Path(scenario)
    files = shipped()
    if scenario not in files:
        raise ScenarioError(
            f"no scenario called {scenario!r}; there are {', '.join(files)}, or give a path to your own"
        )
    return files[scenario]


def shipped() -> dict[str, Path]:
    """The scenarios that come with streamgauge, by name."""
    package = importlib.util.find_spec("streamgauge.scenarios")
    assert package is not None
    assert package.origin is not None
    return {path.stem: path for path in sorted(Path(package.origin).parent.glob("[a-z]*.py"))}
