"""The `streamgauge` command with all its subcommands. A user's mistake is printed as one line, with exit code 2."""

from typing import Any

import click

from streamgauge import __version__
from streamgauge.harness.commands import (
    ab,
    baseline,
    calibrate,
    compare,
    demo,
    history,
    judge,
    noise,
    report,
    run,
    runs,
    serve,
)
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.native import library

_COMMANDS = (ab, baseline, calibrate, compare, demo, history, judge, noise, report, run, runs, serve)


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            library.load()
            return super().invoke(ctx)
        except StreamgaugeError as fault:
            click.echo(f"streamgauge: {visible(str(fault))}", err=True)
            ctx.exit(Exit.MISTAKE)


@click.group(
    cls=_Group,
    commands=[module.command for module in _COMMANDS],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="streamgauge")
def main() -> None:
    """Load-test LLM streaming endpoints, and judge what their users got by an SLA.

    `run` sends a scenario's simulated users to an endpoint and records every stream in one SQLite file. `judge`,
    `report` and `runs` read that file. `compare`, `baseline`, `ab`, `noise` and `history` compare runs. `serve`
    starts a simulated streaming server, and `demo` tries everything once.

    \b
    Exit codes: 0  every rule is met, nothing regressed
                1  a rule is missed, or a metric regressed
                2  a mistake in the call or in the config
                3  inconclusive (too few samples) or invalid (the load generator could not keep up)
    """
