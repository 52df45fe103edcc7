"""The options and the config file, parsed and checked once for all runs of a process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import msgspec

from streamgauge.harness.config import checks
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.load import file_of, load
from streamgauge.harness.config.overrides import changed
from streamgauge.harness.config.schema import Config, Prices, ProtocolName
from streamgauge.harness.config.secrets import filled_metrics, holds_key
from streamgauge.harness.drive import site
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.exit_codes import ForInconclusive
from streamgauge.harness.judge.outputs import kinds, terminal
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.verdict.rules import Rule, parse_all
from streamgauge.harness.near_miss import listed
from streamgauge.harness.run import labels, orders
from streamgauge.harness.run.budget import Most
from streamgauge.harness.run.orders import Ends
from streamgauge.harness.run.probing import as_probe


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
    one_line: bool  # this is one run of several, of which a line is printed
    printing: Callable[[Any], None]  # prints the result
    keep_going: bool  # also if all streams fail alike
    headless: bool  # Locust's --headless: the process ends with its run
    most: Most  # that the run may spend
    probe: str | None  # the name of the [[monitor.target]] that this is a probe of; None: this is no monitor's run
    search: Ends | None  # for a capacity, which decides how many users run

    @property
    def prices(self) -> Prices | None:
        """Those of the config, with what the protocol says about them."""
        target = self.config.target
        if target.prices is None or target.prices.cached_in_input is not None:
            return target.prices
        return msgspec.structs.replace(target.prices, cached_in_input=for_target(target).cached_in_input)

    @property
    def warm_up(self) -> Duration:
        return self.config.load.warm_up or Duration(0)


def settings(options: Any) -> Settings:
    """The settings in Locust's parsed options. StreamgaugeError for a mistake, before anything starts."""
    given = _with_target(_with_warm_up(load(options.gauge_config), options.gauge_warm_up), options)
    if options.gauge_probe is not None:
        given = as_probe(given, options.gauge_probe)
    for path in (options.gauge_db, options.gauge_report):
        if path:
            kinds.check_place(path)
    found = Settings(
        config=given,
        rules=parse_all(given.sla, file_of(options.gauge_config)),
        labels=labels.parse(options.gauge_label or [], "--gauge-label"),
        seed=options.gauge_seed,
        client=options.gauge_client,
        database=options.gauge_db,
        outputs=kinds.requested(options.gauge_output or [], options.gauge_json),
        report=options.gauge_report,
        inconclusive=options.gauge_inconclusive,
        progress=options.gauge_progress and options.gauge_line is None,
        one_line=options.gauge_line is not None,
        printing=_printing(options),
        keep_going=options.gauge_keep_going or options.gauge_probe is not None,
        headless=options.headless,
        most=Most(options.gauge_max_tokens_spent, options.gauge_max_cost),
        probe=options.gauge_probe,
        search=orders.given(),
    )
    found.most.check(given.target.prices)
    site.check(given.target)  # a missing variable ends Locust now instead of failing every stream
    filled_metrics(given.target)
    return found


def _printing(options: Any) -> Callable[[Any], None]:
    if options.gauge_line is not None:
        return partial(terminal.show_line, options.gauge_line)
    return terminal.show_all if options.gauge_all else terminal.show


def _with_target(config: Config, options: Any) -> Config:
    """The config with what the options say of the target. ConfigError for what cannot be."""
    protocol, known = options.gauge_protocol, get_args(ProtocolName)
    if protocol is not None and protocol not in known:
        raise ConfigError(f"--protocol: no protocol called {protocol!r}; there are {listed(protocol, known)}")
    target = changed(
        config.target,
        protocol=protocol,
        model=options.gauge_model,
        path=options.gauge_path,
        headers=options.gauge_header or [],
    )
    if target == config.target:
        return config
    for name, value in target.headers.items():
        if value != config.target.headers.get(name) and holds_key(name, value):
            raise ConfigError(
                f"--header: {name!r} holds a key as text, which everybody on this machine can see: "
                "export it, and write '${NAME}' in its place, in single quotes"
            )
    changed_config = msgspec.structs.replace(config, target=target)
    for fault in checks.faults(changed_config):
        raise ConfigError(f"the options and the config together: {fault}")
    return changed_config


def _with_warm_up(config: Config, option: str | None) -> Config:
    """The config with the option's warm-up in place of its own. ConfigError if it is no duration."""
    if option is None:
        return config
    try:
        warm_up = Duration.parse(option)
    except ValueError as fault:
        raise ConfigError(f"--warm-up: {fault}") from None
    return msgspec.structs.replace(config, load=msgspec.structs.replace(config.load, warm_up=warm_up))
