"""Options and arguments that several commands share. The options of a run are defined in `run.options`."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import click

from streamgauge.harness.commands.numbers import Number, WholeNumber
from streamgauge.harness.run.options import OPTIONS, Option, help_for_command

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_EVERY_RUN = (
    "users",
    "spawn_rate",
    "run_time",
    "processes",
    "warm_up",
    "config",
    "protocol",
    "model",
    "path",
    "header",
    "db",
    "arrivals",
    "rate",
    "max_tokens_spent",
    "max_cost",
    "seed",
    "client",
    "label",
    "keep_going",
)


def of_run(*names: str, required: bool = False) -> Decorator:
    """These options of a run, as click's."""
    return _all([_option(OPTIONS[name], required) for name in names])


def of_every_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command that runs a scenario has, and `-- …` for Locust."""
    passed_on = click.argument("passed_on", metavar="[-- LOCUST_OPTIONS]", nargs=-1, type=click.UNPROCESSED)
    return _all([of_run(*_EVERY_RUN), passed_on])(command)


def config_for(purpose: str, default: str = "./streamgauge.toml, if it exists") -> Decorator:
    """--config of a command that starts no run."""
    return click.option("--config", metavar="FILE", help=f"{purpose}  [default: {default}]")


def page(purpose: str) -> Decorator:
    """-o of a command that writes one page when asked to."""
    return click.option("-o", "--report", "report", metavar="FILE", help=purpose)


alert = click.option(
    "--alert",
    is_flag=True,
    help="Tell the receivers in the config's [[alert]] if the exit code is not 0: a page for 1, else a ticket.",
)
run_id = click.option(
    "--run", "run_id", metavar="ID", help="A run's id, or the beginning of it.  [default: the newest run]"
)
run_ids = click.option(
    "--run", "run_ids", metavar="ID", multiple=True, help="A run's id, or the beginning of it; may be repeated."
)


def _all(decorators: list[Decorator]) -> Decorator:
    return lambda command: reduce(lambda decorated, decorate: decorate(decorated), reversed(decorators), command)


def _option(option: Option, required: bool) -> Decorator:
    if option.kind is bool:
        return click.option(str(option.command), option.name, is_flag=True, help=help_for_command(option))
    return click.option(
        *filter(None, (str(option.command), option.short)),
        option.name,
        type=_type(option),
        default=option.default,
        show_default=option.default is not None,
        metavar=option.metavar,
        multiple=option.repeated,
        required=required,
        help=help_for_command(option) + (f"  [default: {option.without}]" if option.without else ""),
    )


def _type(option: Option) -> Any:
    if option.choices:
        return click.Choice(option.choices)
    if option.or_word is not None:
        return _NumberOr(option.or_word, option.least)
    if option.least is not None:
        return WholeNumber(option.least)
    if option.above is not None:
        return Number(option.above, min_open=True)
    return option.kind


class _NumberOr(click.IntRange):
    """A whole number, or one word."""

    name = "number"

    def __init__(self, word: str, least: int | None) -> None:
        super().__init__(least)
        self._word = word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == self._word:
            return value
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r}: write {self._word}, or a whole number of {self.min} or more", param, ctx)


def refuse_of_search(given: Mapping[str, bool], run: str, why: str) -> None:
    """UsageError for an option that was given, but that is not for a run that a search for a capacity made."""
    for name, is_given in given.items():
        if is_given:
            raise click.UsageError(
                f"--{name}: {run} is a search for a capacity, {why}: leave it out, or name another run with --run"
            )
