"""The --config of the commands that judge a run anew."""

from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.verdict.rules import Rule, parse_all


def rules_and_reader(config: str | None) -> tuple[list[Rule], Reader] | tuple[None, None]:
    """What to judge by: this file's rules and reader. None, None: those that the run was run with."""
    if config is None:
        return None, None
    given = load(config)
    return parse_all(given.sla), given.reader
