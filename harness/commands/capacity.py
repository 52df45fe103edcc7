"""`streamgauge capacity`: how many users the endpoint holds."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click

from streamgauge.harness.capacity.driven import Mistaken, Work
from streamgauge.harness.capacity.found import Found, exit_code
from streamgauge.harness.capacity.guards import Guards
from streamgauge.harness.capacity.hunt import Plan, hunt
from streamgauge.harness.capacity.outputs import check, write
from streamgauge.harness.capacity.path import FIRST
from streamgauge.harness.capacity.screen import Screen
from streamgauge.harness.capacity.sequential import LOOKS
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.numbers import Number, WholeNumber
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Config
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import kinds, lines, save
from streamgauge.harness.judge.outputs.rich_text import errors_console
from streamgauge.harness.run import labels, limits
from streamgauge.harness.run.options import AUTO

_SCENARIO = "concurrency"
_MOST = 1_000
_MOST_RATE = 100  # streams per second
_MOST_LEVELS = 100  # of a sweep
_MOST_PROCESSES = 256
_SET_BY_THE_SEARCH = frozenset(
    {"-u", "--users", "-r", "--spawn-rate", "-t", "--run-time", "--master", "--worker", "--autostart"}
)  # options of Locust's
_PER_MINUTE = 60  # a rate is searched for in streams per minute


class _Ladder(click.ParamType[tuple[int, ...]]):
    """Numbers of users, ascending and each once."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            levels = {int(number) for number in value.split(",")}
        except ValueError:
            self.fail(f"{value!r}: write numbers of users with commas between them, such as 10,20,50,100", param, ctx)
        if min(levels) < 1 or len(levels) > _MOST_LEVELS:
            self.fail(f"{value!r}: write at most {_MOST_LEVELS} numbers of 1 or more", param, ctx)
        return tuple(sorted(levels))


class _Minutes(Number):
    """NaN and ∞ would bound nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        minutes = super().convert(value, param, ctx)
        if not math.isfinite(minutes):
            self.fail(f"{value!r}: write a number of minutes", param, ctx)
        return minutes


@click.command(name="capacity")
@click.argument("url")
@click.option(
    "--scenario",
    default=_SCENARIO,
    show_default=True,
    help="What the users do: the name of a shipped scenario, or the path of your own locustfile. Without it, each asks "
    "on a direct connection and asks again at once, so that users are concurrent streams.",
)
@click.option(
    "--at-least",
    type=WholeNumber(1),
    metavar="N",
    help="Exit with 0 only if N users are proven, with 1 if N are too many.",
)
@click.option(
    "--sweep",
    type=_Ladder(),
    default=(),
    metavar="N,N,…",
    help="Visit only these numbers of users, such as 10,20,50,100, each once.",
)
@click.option(
    "--open",
    is_flag=True,
    help="Search a rate in place of a number of users: so many streams are due per second, however slow the server is.",
)
@click.option(
    "--max-users",
    type=WholeNumber(1),
    default=_MOST,
    show_default=True,
    help="Never more users than that; with --open, never more streams at once.",
)
@click.option(
    "--max-rate",
    type=WholeNumber(1),
    help=f"With --open, never more streams per second than that.  [default: {_MOST_RATE}]",
)
@click.option(
    "--max-streams",
    type=WholeNumber(LOOKS[0]),
    help="End the search before so many streams have begun. One level takes 130 at least.",
)
@click.option("--max-minutes", type=_Minutes(0, min_open=True), help="End the search after so many minutes.")
@click_options.of_run("max_cost", "max_tokens_spent", "config", "protocol", "model", "path", "header")
@click_options.of_run("processes", "db", "seed", "client", "label", "report", "json", "output")
@click.argument("passed_on", metavar="[-- LOCUST_OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, /, url: str, scenario: str, passed_on: Sequence[str], **options: Any) -> None:
    """Find out how many users the endpoint holds.

    Visits one number of users after another in one run, judges each stream by the rules, and looks for the most users
    with which they are kept: "At least 84 users keep the SLA (95 % confidence). The knee is about 90 (86–95)."

    \b
        streamgauge capacity https://staging.example --config streamgauge.toml
        streamgauge capacity https://staging.example --scenario slow_mobile --at-least 80

    Exit codes: 0 the answer is known, or N are proven; 1 N are too many, or not even one user keeps the rules; 2 a
    mistake in the call; 3 the answer is not known: the search was ended early, or the load generator gave way.
    """
    _check_given(passed_on, options)
    outputs = kinds.requested(options.pop("output"), options.pop("json"))
    check(outputs)
    report = options.pop("report")
    if report:
        kinds.check_place(report)
    config = load(options["config"])
    unit = Unit.RATE if options.pop("open") else Unit.USERS
    plan = _plan(config, unit, options)
    options["label"] = labels.written(labels.provenance() | labels.parse(options["label"], "--label"))
    begins = _load(plan, options.pop("max_users"))
    work = Work(scenario, {**options, **begins, "host": url, "warm_up": "0s"}, passed_on)
    screen = Screen(unit, errors_console() if any(output.path == "-" for output in outputs) else None)
    try:
        with screen.shown():
            found = hunt(work, plan, screen)
    except Mistaken as why:
        if str(why):
            lines.warn(f"streamgauge: {why}")
        ctx.exit(Exit.MISTAKE)
    pages = [partial(_page, found, report)] if report else []
    write(found, outputs, [partial(screen.told, found), *pages])
    ctx.exit(exit_code(found))


def _check_given(passed_on: Sequence[str], options: Mapping[str, Any]) -> None:
    """UsageError for options that contradict each other, or the search."""
    processes = options["processes"]
    if processes == AUTO:
        raise click.UsageError(f"--processes {AUTO}: write a number; how many users there will be is searched for")
    if processes is not None and (processes == 0 or processes > _MOST_PROCESSES):
        raise click.UsageError(
            f"--processes {processes}: write a number up to {_MOST_PROCESSES}, or -1: one for each core"
        )
    if options["open"] and processes not in {None, 1}:
        raise click.UsageError(
            "--open and --processes: a rate is searched for in one process: leave one of the two out"
        )
    if options["max_rate"] is not None and not options["open"]:
        raise click.UsageError("--max-rate bounds a rate: write --open, too, or --max-users in its place")
    for word in passed_on:
        name = word.partition("=")[0]
        if name in _SET_BY_THE_SEARCH or (not name.startswith("--") and name[:2] in _SET_BY_THE_SEARCH):
            raise click.UsageError(f"{name} after --: the search sets the load and its time itself: leave it out")


def _plan(config: Config, unit: Unit, options: dict[str, Any]) -> Plan:
    """Takes the options of the search out of `options`, but `max_users`. UsageError, ConfigError, MachineError."""
    at_least, ladder, rate = options.pop("at_least"), options.pop("sweep"), options.pop("max_rate") or _MOST_RATE
    guards = Guards(options.pop("max_streams"), options.pop("max_minutes"))
    most, bound = (rate, "--max-rate") if unit is Unit.RATE else (options["max_users"], "--max-users")
    for name, wanted in (("--sweep", ladder[-1] if ladder else None), ("--at-least", at_least)):
        if wanted is not None and wanted > most:
            raise click.UsageError(f"{name} {wanted}: no more than {most} are allowed: raise {bound}")
    if ladder and at_least is not None and at_least > ladder[-1]:
        raise click.UsageError(f"--at-least {at_least}: the sweep goes up to {ladder[-1]}, which can never show it")
    limits.raise_open_files()
    limits.check(options["max_users"])
    if unit is Unit.USERS and config.load.arrivals is not None:
        raise ConfigError("load.arrivals: a search sets the load itself: leave it out, or search a rate with --open")
    scale = _PER_MINUTE if unit is Unit.RATE else 1
    first = max(1, at_least // 4) if at_least else 1 if unit is Unit.RATE else FIRST
    return Plan(
        config=config,
        most=scale * (ladder[-1] if ladder else most),
        first=scale * min(first, most),
        guards=guards,
        at_least=None if at_least is None else scale * at_least,
        ladder=[scale * level for level in ladder],
        unit=unit,
    )


def _load(plan: Plan, users: int) -> dict[str, Any]:
    """The options of the run with which it begins."""
    if plan.unit is Unit.USERS:
        return {"users": 1}
    return {"users": users, "arrivals": "poisson", "rate": plan.first / _PER_MINUTE}


def _page(found: Found, path: str) -> None:
    from streamgauge.reports import capacity  # noqa: PLC0415 - plotly takes 0.1 s, which a search without a page saves
    from streamgauge.reports.html import finished  # noqa: PLC0415

    save(finished(capacity.render(found)), path)
