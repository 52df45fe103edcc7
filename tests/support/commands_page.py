"""Prints the page of all commands, as their `--help` shows them.

Call it in a process of its own: click keeps the first form of --help that a command was called with.
"""

import sys
from collections.abc import Iterator

import click
from click.testing import CliRunner

from streamgauge.harness.cli import main
from streamgauge.reference_server.options import parse as server

_WIDTH = 110
_HEAD = """# All commands

What `--help` says of each command. [Exit codes](exit-codes.md) has the meaning of their ends, and
[Configuration](configuration.md#options-of-a-run) the options of a run for plain Locust, too.

<!-- This page is generated: python -m tests.support.commands_page > docs/reference/commands.md -->
"""


def page() -> str:
    return _HEAD + "".join(f"\n## `{name}`\n\n```text\n{_help(command, name)}\n```\n" for name, command in _commands())


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name in sorted(main.commands):
        _, command, _ = main.resolve_command(click.Context(main), [name])
        assert command is not None
        yield f"streamgauge {name}", server if name == "serve" else command
        if isinstance(command, click.Group):
            for below in sorted(command.commands):
                yield f"streamgauge {name} {below}", command.commands[below]


def _help(command: click.Command, name: str) -> str:
    shown = CliRunner().invoke(
        command,
        ["--help"],
        prog_name=name,
        help_option_names=["-h", "--help"],
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
    )
    assert shown.exit_code == 0, shown.output
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(page())
