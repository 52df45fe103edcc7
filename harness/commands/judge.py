"""`streamgauge judge`: a verdict from the database alone."""

from typing import Any

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.judge.second_process import started_early


@click.command(name="judge")
@click.argument("db")
@click_options.run_id
@click_options.config_for("Judge by the rules of this file.", "the rules that the run was run with")
@click_options.of_run("all", "json", "output", "inconclusive")
@click_options.alert
@click.pass_context
def command(ctx: click.Context, /, db: str, run_id: str | None, config: str | None, **options: Any) -> None:
    """Judge a run again, from its database alone.

    Of a search for a capacity, it says again what was found.
    """
    with started_early(db) as second:
        from streamgauge.harness.commands import judged  # noqa: PLC0415 - takes as long as `second` takes to start

        code = judged.told(db, second, run_id, config, options)
    ctx.exit(code)
