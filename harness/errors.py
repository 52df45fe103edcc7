"""The errors that streamgauge raises for a user's mistake, or for something that is missing.

Each message is one line that says what is wrong, where, and what to do; the command prints it and exits with 2. What
a *server* does wrong is never one of these errors: it is an Outcome in the record.

    StreamgaugeError
    ├── ConfigError       streamgauge.toml: a file, a key, a value, a missing environment variable
    ├── RuleError         the text of an SLA rule
    ├── ScenarioError     a scenario, prompt, network, behaviour or protocol that does not exist, or a wrong option
    ├── TargetError       a host that is not a URL or does not resolve, a taken port, a server that does not start
    ├── OutputError       an --output of an unknown kind, or without its file
    ├── BaselineError     a baseline that is unknown, empty or of other work, or a file that is not a baseline
    ├── StoreError        a database that is missing, not ours, empty, from a newer version, or cannot be written
    │   ├── RowError          a row that SQLite refuses to store
    │   └── DamagedRow        a row of it that no version of this program wrote: other rows can still be read
    ├── MachineError     too few file descriptors, ports or bytes of memory for the users
    └── InstallError      a file of the package that does not fit the others
"""


class StreamgaugeError(Exception):
    """The base of all these errors. The message is one line."""


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


class RowError(StoreError):
    pass


class DamagedRow(StoreError):
    pass


class MachineError(StreamgaugeError):
    pass


class InstallError(StreamgaugeError):
    pass
