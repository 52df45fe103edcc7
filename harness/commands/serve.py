"""`streamgauge serve`: the reference server, with its own options."""

import click

from streamgauge.harness import programs


@click.command(
    name="serve",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,  # --help goes to the server, too
)
@click.argument("server_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, server_options: tuple[str, ...]) -> None:
    """Start the reference server; `serve --help` has its options."""
    ctx.exit(programs.wait(programs.server_command(*server_options)))
