"""The options and the config file, parsed and checked once for all runs of a process."""

from dataclasses import dataclass
from typing import Any

from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Config
from streamgauge.harness.config.secrets import filled_metrics
from streamgauge.harness.drive import site
from streamgauge.harness.exit_codes import ForInconclusive
from streamgauge.harness.judge.outputs import kinds
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.verdict.rules import Rule, parse_all
from streamgauge.harness.run import labels


@dataclass(frozen=True, slots=True)
class Settings:
    config: Config
    rules: list[Rule]
    labels: dict[str, str]
    seed: int
    client: str | None  # of every user; None: each class names its own
    database: str
    outputs: list[Output]
    report: str | None  # path of the HTML report; None: no report
    inconclusive: ForInconclusive | None  # how an inconclusive run exits; None: with exit code 3
    progress: bool  # show live numbers
    headless: bool  # Locust's --headless: the process ends with its run


def settings(options: Any) -> Settings:
    """The settings in Locust's parsed options. StreamgaugeError for a mistake, before anything starts."""
    given = load(options.gauge_config)
    for path in (options.gauge_db, options.gauge_report):
        if path:
            kinds.check_place(path)
    found = Settings(
        config=given,
        rules=parse_all(given.sla),
        labels=labels.parse(options.gauge_label or [], "--gauge-label"),
        seed=options.gauge_seed,
        client=options.gauge_client,
        database=options.gauge_db,
        outputs=kinds.requested(options.gauge_output or [], options.gauge_json),
        report=options.gauge_report,
        inconclusive=options.gauge_inconclusive,
        progress=options.gauge_progress,
        headless=options.headless,
    )
    site.check(given.target)  # a missing variable ends Locust now instead of failing every stream
    filled_metrics(given.target)
    return found
