"""Checks that a run's warm-up leaves some of the run to be measured."""

from locust.env import Environment

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.drive.shapes import Planned
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run.open_load import OpenLoad


def check(warm_up: Duration, environment: Environment, load: OpenLoad) -> None:
    """ScenarioError if the run is known to end before its warm-up does, or with it: nothing would be measured."""
    if not warm_up:
        return
    run_time = environment.parsed_options.run_time
    if run_time and warm_up >= run_time * 1e9:
        _fail(warm_up, f"the run takes {run_time:g} s (--run-time)")
    if not run_time and load.lasts is not None and warm_up >= load.lasts:
        _fail(warm_up, f"the last arrival of {load.name} is due after {load.lasts / 1e9:g} s")
    shape = environment.shape_class
    if isinstance(shape, Planned) and shape.planned(warm_up / 1e9) is None:
        _fail(warm_up, f"the shape {type(shape).__name__} ends before that")


def _fail(warm_up: Duration, why: str) -> None:
    raise ScenarioError(
        f"load.warm_up (or --warm-up): {warm_up} leaves nothing to measure: {why}; "
        f"give a shorter warm-up, or a longer run"
    )
