"""The --config of the commands that judge a run again."""

from streamgauge.harness.config.load import file_of, load
from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.verdict.rules import Rule, parse_all


def rules_and_reader(config: str | None) -> tuple[list[Rule], Reader] | tuple[None, None]:
    """The rules and the reader of this config file. Without a file None, None: judge by those of the run's config."""
    if config is None:
        return None, None
    settings = load(config)
    return parse_all(settings.sla, file_of(config)), settings.reader
