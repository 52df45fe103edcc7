"""`streamgauge --help` lists commands without importing them: what it says of each is what the command says."""

import importlib
import pkgutil
from pathlib import Path

import click
import pytest

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


def test_no_option_is_called_a_range() -> None:
    """By click, `--users five` is not a valid integer range."""
    modules = [
        importlib.import_module(f"{commands.__name__}.{each.name}") for each in pkgutil.iter_modules(commands.__path__)
    ]
    options = [option for module in modules if hasattr(module, "command") for option in module.command.params]
    assert len(options) > 50
    assert [option.name for option in options if "range" in option.type.name] == []


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


@pytest.mark.parametrize("words", [(), ("baseline",)])
def test_a_command_without_arguments_helps(words: tuple[str, ...]) -> None:
    result = invoke(*words)
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


def test_an_option_of_locust_is_told_where_it_goes_and_a_misspelt_one_what_it_may_be() -> None:
    locusts, misspelt = (
        invoke("run", "chat", "--host", "http://x", *words) for words in (["--tags", "a"], ["--hots", 3])
    )
    assert "Locust's own options go behind --, as in: -- --tags …" in locusts.output
    assert "Did you mean '--host'?" in misspelt.output
    assert "Locust" not in misspelt.output.splitlines()[-1]
    assert (locusts.exit_code, misspelt.exit_code) == (2, 2)


def test_locusts_short_options_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr("streamgauge.harness.commands.run.launch", lambda _, options, *__, **___: given.update(options))
    invoke("run", "chat", "-H", "http://x", "-u", 5, "-r", 2, "-t", "9s", "--processes", -1)
    assert [given[name] for name in ("host", "users", "spawn_rate", "run_time", "processes")] == [
        "http://x", 5, 2.0, "9s", -1,
    ]  # fmt: skip


def test_an_error_of_our_own_is_one_line_with_exit_code_2_and_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("nobody\nexpected\x1b[2J this")

    monkeypatch.setenv("STREAMGAUGE_DEBUG", "")  # so that it is taken back
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("streamgauge.harness.judge.store.Store.open", fails)
    result = invoke("runs", "x.db")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "RuntimeError: nobody expected" in line
    assert "\x1b" not in line
    (kept,) = tmp_path.iterdir()
    assert str(kept) in line
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in invoke("--debug", "runs", "x.db").stderr
