"""What the options and the config file ask of every run that a process keeps: parsed and checked once."""

from dataclasses import dataclass
from typing import Any

from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Config
from streamgauge.harness.config.secrets import filled_headers, filled_metrics
from streamgauge.harness.exit_codes import ForInconclusive
from streamgauge.harness.judge.outputs import dispatch
from streamgauge.harness.judge.outputs.dispatch import Output
from streamgauge.harness.judge.verdict.rules import Rule, parse_all
from streamgauge.harness.run import labels


@dataclass(frozen=True, slots=True)
class Settings:
    config: Config
    rules: list[Rule]
    labels: dict[str, str]
    seed: int
    client: str | None  # of every user; None: the one that its class names
    database: str
    outputs: list[Output]
    report: str | None  # path of the HTML report; None: none is wanted
    inconclusive: ForInconclusive | None  # another exit code for an inconclusive run
    progress: bool  # show live numbers
    headless: bool  # the process ends with its run


def settings(options: Any) -> Settings:
    """From Locust's parsed options. StreamgaugeError for whatever is wrong, before anything starts."""
    given = load(options.gauge_config)
    found = Settings(
        config=given,
        rules=parse_all(given.sla),
        labels=labels.parse(options.gauge_label or [], "--gauge-label"),
        seed=options.gauge_seed,
        client=options.gauge_client,
        database=options.gauge_db,
        outputs=dispatch.requested(options.gauge_output or [], options.gauge_json),
        report=options.gauge_report,
        inconclusive=options.gauge_inconclusive,
        progress=options.gauge_progress,
        headless=options.headless,
    )
    filled_headers(given.target)  # a missing variable is one line now, and would be a run full of failures later
    filled_metrics(given.target)
    return found
