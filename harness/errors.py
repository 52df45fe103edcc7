"""Every error that streamgauge raises on purpose. Each message is one line that says what was wrong, where,
and what to do; the command prints it and exits with 2. What a *server* does wrong is never an error here: it is
an Outcome in the record.

    StreamgaugeError
    ├── ConfigError       streamgauge.toml: a file, a key, a value, a missing environment variable
    ├── RuleError         the text of an SLA rule
    ├── ScenarioError     a scenario, prompt, network, behaviour or protocol that does not exist
    ├── TargetError       a host that is no URL, does not resolve, or a port that is taken
    ├── OutputError       a way of telling a verdict that does not exist, or that lacks its file
    ├── BaselineError     a baseline that is unknown, empty, of another kind of run, or a file that is none
    └── StoreError        a database that is missing, foreign, empty, newer than we are, or cannot be written
"""


class StreamgaugeError(Exception):
    """A user's mistake or a missing thing, told in one line."""


class ConfigError(StreamgaugeError):
    pass


class RuleError(StreamgaugeError):
    pass


class ScenarioError(StreamgaugeError):
    pass


class TargetError(StreamgaugeError):
    pass


class OutputError(StreamgaugeError):
    pass


class BaselineError(StreamgaugeError):
    pass


class StoreError(StreamgaugeError):
    pass
