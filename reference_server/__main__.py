"""`python -m streamgauge.reference_server`: the reference server as a process of its own."""

import os
import sys

import click

from streamgauge.reference_server import options, server
from streamgauge.reference_server.settings import Settings


def run() -> None:
    """Serve until told to end. A user's mistake is one line on standard error and exit code 2."""
    try:
        settings = _settings()
        if isinstance(settings, Settings):  # --help has printed its text and returns no settings
            server.serve(settings)
    except click.ClickException as fault:
        click.echo(f"streamgauge serve: {fault.format_message()}", err=True)
        sys.exit(2)
    except server.CannotStart as fault:
        click.echo(f"streamgauge serve: {fault}", err=True)
        sys.exit(2)


def _settings() -> object:
    """What the options say; None if --help was asked for. If that cannot be printed, the process ends."""
    try:
        return options.parse.main(prog_name="streamgauge serve", standalone_mode=False)
    except (OSError, SystemExit):  # SystemExit: how click ends if the reader of the help went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes standard output once more at its exit
        click.echo("streamgauge serve: standard output: cannot be written", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
