"""The options of a run. Locust's parser, the `streamgauge` command and the docs' table are made from this one list.

This module does not import Locust: the commands import it, and importing Locust would monkey-patch them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from streamgauge.harness.exit_codes import ForInconclusive
from streamgauge.harness.judge.outputs.kinds import FILES

AUTO = "auto"  # in place of a number of processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    name: str  # in Python
    locust: str  # the flag of plain `locust`
    command: str | None  # the flag of `streamgauge run`; None: only plain Locust has it
    short: str | None = None  # Locust's short flag for it, which `streamgauge run` understands, too
    help: str  # `{rate}` stands for the flag of the option `rate`
    kind: type[str] | type[int] | type[float] | type[bool] = str  # bool: a flag without a value
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    default: str | int | None = None
    without: str | None = None  # what happens without the option, if it has no default value
    repeated: bool = False
    least: int | None = None  # `streamgauge run` refuses smaller numbers
    above: int | None = None  # `streamgauge run` refuses this number and smaller ones
    or_word: str | None = None  # may stand in place of a number

    @property
    def ours(self) -> bool:
        """Whether streamgauge adds this option to Locust's parser; the others are Locust's own."""
        return self.locust.startswith("--gauge-")


OPTIONS = {
    option.name: option
    for option in (
        Option(
            name="host",
            command="--host",
            short="-H",
            locust="--host",
            metavar="URL",
            help="The endpoint's URL, such as https://staging.example; a path in it is put before `target.path`.",
        ),
        Option(
            name="users",
            command="--users",
            short="-u",
            locust="--users",
            kind=int,
            least=1,
            help="Number of users at the peak; in an open load, the most that run at once.",
        ),
        Option(
            name="spawn_rate",
            command="--spawn-rate",
            short="-r",
            locust="--spawn-rate",
            kind=float,
            above=0,
            help="Users started per second.",
        ),
        Option(
            name="run_time",
            command="--run-time",
            short="-t",
            locust="--run-time",
            metavar="TIME",
            help="How long to run, such as 90s or 10m.",
            without="until Ctrl-C, or the end of the load shape",
        ),
        Option(
            name="warm_up",
            command="--warm-up",
            locust="--gauge-warm-up",
            metavar="TIME",
            help="The first part of the run, such as 30s, in place of the config's: its streams are stored, and count "
            "in no figure. 0s for none.",
        ),
        Option(
            name="processes",
            command="--processes",
            locust="--processes",
            kind=int,
            least=-1,
            or_word=AUTO,
            metavar="N",
            help="Divide the users among so many processes; -1: one for each core; auto: as many as the load needs on "
            "this machine, by `streamgauge calibrate`.",
            without="one process",
        ),
        Option(
            name="config",
            command="--config",
            locust="--gauge-config",
            metavar="FILE",
            help="The target, the SLA rules and the limits.",
            without="./streamgauge.toml, if it exists",
        ),
        Option(
            name="protocol",
            command="--protocol",
            locust="--gauge-protocol",
            metavar="NAME",
            help="In place of the config's protocol.",
        ),
        Option(
            name="model",
            command="--model",
            locust="--gauge-model",
            metavar="NAME",
            help="In place of the config's model.",
        ),
        Option(
            name="path",
            command="--path",
            locust="--gauge-path",
            metavar="PATH",
            help="In place of the config's path.",
        ),
        Option(
            name="header",
            command="--header",
            locust="--gauge-header",
            metavar="'NAME: VALUE'",
            repeated=True,
            help="In addition to the config's; "
            "${{NAME}} in single quotes is filled in from the environment. Can be repeated.",
        ),
        Option(
            name="db",
            command="--db",
            locust="--gauge-db",
            metavar="FILE",
            default="streamgauge.db",
            help="The SQLite file that the run is added to.",
        ),
        Option(
            name="arrivals",
            command="--arrivals",
            locust="--gauge-arrivals",
            metavar="SCHEDULE",
            help="Open load, in place of the config's: constant or poisson, with {rate}, every:TIME, or file:PATH.",
        ),
        Option(
            name="rate",
            command="--rate",
            locust="--gauge-rate",
            kind=float,
            metavar="PER_SECOND",
            help="Streams due per second in an open load.",
        ),
        Option(
            name="max_tokens_spent",
            command="--max-tokens-spent",
            locust="--gauge-max-tokens-spent",
            kind=int,
            least=1,
            help="End each run when its streams have used so many tokens, input and output together.",
        ),
        Option(
            name="max_cost",
            command="--max-cost",
            locust="--gauge-max-cost",
            kind=float,
            above=0,
            metavar="AMOUNT",
            help="End each run when its streams have cost so much, by [target.prices] and in its currency.",
        ),
        Option(
            name="seed",
            command="--seed",
            locust="--gauge-seed",
            kind=int,
            default=1,
            help="Two runs with the same seed send the same prompts at the same think times, over the same links.",
        ),
        Option(
            name="client",
            command="--client",
            locust="--gauge-client",
            metavar="NAME",
            help="The client stack of every user: wire, httpx or anthropic.",
            without="the one that the user class names",
        ),
        Option(
            name="label",
            command="--label",
            locust="--gauge-label",
            metavar="NAME=VALUE",
            repeated=True,
            help="Stored with the run; may be repeated.",
        ),
        Option(
            name="keep_going",
            command="--keep-going",
            locust="--gauge-keep-going",
            kind=bool,
            help="Do not end a run whose first 20 streams all fail alike.",
        ),
        Option(
            name="report",
            command="--report",
            locust="--gauge-report",
            metavar="HTML",
            help="Write the HTML report to this file.",
        ),
        Option(
            name="all",
            command="--all",
            locust="--gauge-all",
            kind=bool,
            help="Print every figure, and not only those that the rules and a reader need first.",
        ),
        Option(
            name="json",
            command="--json",
            locust="--gauge-json",
            metavar="FILE",
            help="Write the result document to this file; - for standard output.",
        ),
        Option(
            name="output",
            command="--output",
            locust="--gauge-output",
            metavar="KIND=FILE",
            repeated=True,
            help=f"Also report to CI: {', '.join(FILES)} as KIND=FILE, or github. May be repeated; "
            f"a GitHub job gets github without asking.",
        ),
        Option(
            name="inconclusive",
            command="--inconclusive",
            locust="--gauge-inconclusive",
            choices=get_args(ForInconclusive),
            help="Exit with 0 (pass) or 1 (fail) if there are too few samples to judge. An invalid run never passes.",
            without="exit with 3",
        ),
        Option(
            name="line",
            command=None,
            locust="--gauge-line",
            metavar="TEXT",
            help="Print one line that begins with this text in place of the result and the live figures.",
        ),
        Option(
            name="probe",
            command=None,
            locust="--gauge-probe",
            metavar="NAME",
            help="Probe this [[monitor.target]] of the config: without the config's rules, and within its tokens a "
            "day. `streamgauge monitor` starts it so.",
        ),
        Option(
            name="progress",
            command=None,
            locust="--gauge-progress",
            kind=bool,
            help="Show live figures in place of Locust's tables: a screen in a terminal, elsewhere a line every few "
            "seconds; `streamgauge run` always does.",
        ),
    )
}


def help_for_command(option: Option) -> str:
    return option.help.format_map({each.name: each.command for each in OPTIONS.values()})


def help_for_locust(option: Option) -> str:
    return option.help.format_map({each.name: each.locust for each in OPTIONS.values()})


def add_to_locust(group: Any) -> None:
    """Add our options to a group of Locust's argument parser."""
    for option in OPTIONS.values():
        if not option.ours:
            continue
        default = option.without or option.default
        text = help_for_locust(option) + (f" (default: {default})" if default is not None else "")
        keywords: dict[str, Any] = {"help": text}
        if option.kind is bool:
            keywords["action"] = "store_true"
        elif option.repeated:
            keywords |= {"action": "append", "metavar": option.metavar}
        elif option.choices:
            keywords["choices"] = option.choices
        else:
            keywords |= {"type": option.kind, "default": option.default, "metavar": option.metavar}
        group.add_argument(option.locust, **keywords)


def locust_options(values: Mapping[str, object]) -> list[str]:
    """Option values, by name, as arguments for Locust's command line. Options whose value is None are left out."""
    return list(_arguments(values))


def _arguments(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        option = OPTIONS[name]
        if option.kind is bool:
            if value:
                yield option.locust
            continue
        each = value if option.repeated and isinstance(value, Sequence) else [value]
        for one in each:
            if one is None:
                continue
            if str(one).startswith("-"):  # as a word of its own, Locust's parser would take `-5s` for an option
                yield f"{option.locust}={one}"
            else:
                yield from (option.locust, str(one))
