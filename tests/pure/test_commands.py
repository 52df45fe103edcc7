"""`streamgauge --help` lists commands without importing them: what it says of each is what the command says."""

import importlib
import pkgutil

import click

from streamgauge.harness import commands
from streamgauge.harness.cli import main
from tests.support.command import invoke


def test_the_list_has_every_command_with_the_first_sentence_of_its_own_help() -> None:
    modules = [
        importlib.import_module(f"{commands.__name__}.{each.name}") for each in pkgutil.iter_modules(commands.__path__)
    ]
    real = {
        module.command.name: module.command.get_short_help_str(200) for module in modules if hasattr(module, "command")
    }
    assert {name: entry.get_short_help_str(200) for name, entry in main.commands.items()} == real


def test_a_command_has_its_own_help_and_a_group_its_own_commands() -> None:
    assert "DB" in invoke("judge", "--help").output
    context = click.Context(main)
    _, group, rest = main.resolve_command(context, ["baseline", "list", "x.db"])
    assert isinstance(group, click.Group)
    assert (sorted(group.commands), rest) == (
        ["accept", "export", "import", "list", "noise", "remove"],
        ["list", "x.db"],
    )


def test_a_misspelt_command_is_told_the_nearest_one() -> None:
    result = invoke("jugde")
    assert result.exit_code == 2
    assert "No such command 'jugde'. Did you mean 'judge'?" in result.output
