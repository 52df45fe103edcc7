"""The `streamgauge` command with all its subcommands. A user's mistake is printed as one line, with exit code 2."""

import importlib
import os
import sys
from typing import Any

import click

from streamgauge import __version__
from streamgauge.harness import standard_output
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.interrupt import ClearingUp
from streamgauge.harness.judge.wording import harmless
from streamgauge.harness.native import library
from streamgauge.harness.standard_output import OutputLost
from streamgauge.harness.unexpected import DEBUG, reported

_COMMANDS = {  # each with the first sentence of its own help, so that the list of commands imports none of them
    "ab": "Compare two builds that are both running.",
    "baseline": "Manage baselines: accepted runs to compare with.",
    "calibrate": "Measure how exact the recorded times are on this machine.",
    "capacity": "Find out how many users the endpoint holds.",
    "compare": "Find out whether a build is slower than the one before.",
    "demo": "Try everything once on a simulated server.",
    "doctor": "Find out why an endpoint does not stream, or what else is wrong with its streaming.",
    "export": "Export every measured stream as CSV, JSON or Parquet.",
    "history": "Show how TTFT developed over all runs.",
    "incidents": "List the incidents of a monitor's database, the newest first, each with its worst streams.",
    "init": "Write a first streamgauge.toml.",
    "judge": "Judge a run again, from its database alone.",
    "merge": "Join the databases of several monitors, such as one for each region, into a new one.",
    "monitor": "Probe endpoints day and night, and alert when a service level is at risk.",
    "noise": "Measure how far apart equal runs are.",
    "report": "Write the HTML report of a run.",
    "run": "Run a scenario with Locust.",
    "runs": "List the runs of a database, oldest first, each with its verdict.",
    "serve": "Start the reference server; `serve --help` has its options.",
    "status": "Write the status page of a monitor's database.",
    "try": "Ask one question, and show what came.",
}


class _Group(click.Group):
    """Imports only the command that is called. `commands` are its entries in the list of commands, and no more."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, entry, rest = super().resolve_command(ctx, args)
        if entry is None:
            return name, entry, rest
        return name, importlib.import_module(f"streamgauge.harness.commands.{name}").command, rest

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*words, **more)
        except OutputLost as fault:  # while --help or --version printed
            sys.stderr.write(f"streamgauge: {standard_output.lost(fault)}\n")
            raise click.exceptions.Exit(Exit.MISTAKE) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with ClearingUp():
                library.load()
                try:
                    return super().invoke(ctx)
                finally:
                    sys.stdout.flush()  # a full disk is told here, and not by Python at its exit
        except StreamgaugeError as fault:
            sys.stderr.write(f"streamgauge: {harmless(str(fault))}\n")
            ctx.exit(Exit.MISTAKE)
        except (KeyboardInterrupt, click.Abort):  # Abort: in the middle of a question
            sys.stderr.write("streamgauge: interrupted\n")
            ctx.exit(Exit.INCONCLUSIVE)
        except click.NoSuchOption as fault:
            if not _is_locusts(fault):
                raise
            behind = f"{fault.message} Locust's own options go behind --, as in: -- {fault.option_name} …"
            raise click.NoSuchOption(fault.option_name, behind, ctx=fault.ctx) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except OutputLost as fault:
            sys.stderr.write(f"streamgauge: {standard_output.lost(fault)}\n")
            ctx.exit(Exit.MISTAKE)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it must not exit with 0 or 1
            sys.stderr.write(f"streamgauge: {harmless(reported(fault))}\n")
            ctx.exit(Exit.MISTAKE)


def _is_locusts(fault: click.NoSuchOption) -> bool:
    """Whether Locust may have this option: the command passes options on, and no option of ours is called alike."""
    passes_on = fault.ctx is not None and any(param.name == "passed_on" for param in fault.ctx.command.params)
    return passes_on and not fault.possibilities


@click.group(
    cls=_Group,
    commands=[click.Command(name, help=sentence) for name, sentence in _COMMANDS.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="streamgauge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, too.")
@click.pass_context
def main(ctx: click.Context, /, *, debug: bool) -> None:
    """Load-test LLM streaming endpoints, and judge what their users got by an SLA.

    Begin with `init`: it asks one question and writes the config that worked. `try` shows what comes. `run` sends a
    scenario's simulated users to an endpoint and records every stream in one SQLite file. `judge`, `report`, `runs`
    and `export` read that file. `compare`, `baseline`, `ab`, `noise` and `history` compare runs. `serve` starts a
    simulated streaming server, and `demo` tries everything once. `monitor` probes day and night, and `incidents` lists
    what it found. `capacity` finds out how many users an endpoint
    holds.

    \b
    Exit codes: 0  every rule is met, nothing regressed
                1  a rule is missed, or a metric regressed
                2  a mistake in the call or in the config
                3  inconclusive (too few samples) or invalid (the load generator could not keep up)
    """
    if debug:
        os.environ[DEBUG] = "1"
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
