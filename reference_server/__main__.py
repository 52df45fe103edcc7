"""`python -m streamgauge.reference_server`: the reference server as a process of its own."""

import sys

import click

from streamgauge.reference_server import options, server
from streamgauge.reference_server.settings import Settings


def run() -> None:
    """Serve until told to end. A user's mistake is one line on standard error and exit code 2."""
    try:
        settings = options.parse.main(prog_name="streamgauge serve", standalone_mode=False)
        if isinstance(settings, Settings):  # --help has printed its text and returns no settings
            server.serve(settings)
    except click.ClickException as fault:
        click.echo(f"streamgauge serve: {fault.format_message()}", err=True)
        sys.exit(2)
    except server.CannotStart as fault:
        click.echo(f"streamgauge serve: {fault}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
