"""One table defines each option of a run: click, Locust's parser and the docs agree with it."""

from argparse import ArgumentParser

import pytest
from click.testing import CliRunner

from streamgauge.harness.cli import main
from streamgauge.harness.drive.clients import CLIENTS
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run import labels
from streamgauge.harness.run.launch import locustfile, shipped
from streamgauge.harness.run.options import OPTIONS, add_to_locust, locust_options
from tests.support.options_table import documented, table

LOCUSTS_OWN = ["--host", "--users", "--spawn-rate", "--run-time", "--processes"]


def help_of(*words: str) -> str:
    return " ".join(CliRunner(env={"COLUMNS": "200"}).invoke(main, [*words, "--help"]).output.split())


def test_the_docs_have_the_table() -> None:
    assert documented() == table(), "write it anew: python -m tests.support.options_table"


def test_the_run_command_has_each_option_with_its_help() -> None:
    shown = help_of("run")
    for option in OPTIONS.values():
        if option.command is None:
            assert option.locust not in shown
        else:
            assert f" {option.command} " in shown
            assert option.help.partition("{")[0].strip() in shown


def test_locust_s_parser_has_our_options_and_they_read_back_what_the_command_composes() -> None:
    parser = ArgumentParser()
    for own in LOCUSTS_OWN:
        parser.add_argument(own)
    add_to_locust(parser)
    given = {
        "host": "http://x", "users": 3, "spawn_rate": 1.5, "run_time": "9s", "processes": 2,
        "warm_up": "-2s", "config": "c.toml", "protocol": "openai_chat", "model": "m", "path": "/v1",
        "header": ("a: b", "c: d"), "db": "a.db",
        "max_tokens_spent": 5, "max_cost": 0.5, "arrivals": "poisson", "rate": 2.5, "seed": 7,
        "client": "httpx", "label": ("a=1", "b=2"), "report": "r.html", "json": "-", "output": ("junit=j.xml",),
        "inconclusive": "fail",
    }  # fmt: skip
    read = vars(parser.parse_args(locust_options(given)))
    assert read.pop("gauge_progress") is False
    assert read.pop("gauge_keep_going") is False
    assert read.pop("gauge_all") is False
    assert read.pop("gauge_line") is None
    assert read.pop("gauge_probe") is None
    assert vars(parser.parse_args(locust_options({"keep_going": True})))["gauge_keep_going"] is True
    plain = {name.removeprefix("gauge_"): value for name, value in read.items()}
    assert plain == {
        **given, "users": "3", "processes": "2", "spawn_rate": "1.5", "label": ["a=1", "b=2"],
        "header": ["a: b", "c: d"], "output": ["junit=j.xml"],
    }  # fmt: skip


def test_options_that_are_not_given_are_left_to_locust() -> None:
    assert locust_options({"users": None, "label": (), "seed": 1}) == ["--gauge-seed", "1"]


def test_the_help_names_every_client_and_every_shipped_scenario() -> None:
    assert all(name in OPTIONS["client"].help for name in CLIENTS)
    assert "SCENARIO is the path" in help_of("run")
    assert all(name in help_of("run") for name in shipped())


def test_a_scenario_is_a_path_or_the_name_of_a_shipped_one() -> None:
    assert locustfile("chat").name == "chat.py"
    with pytest.raises(ScenarioError, match="no scenario called 'chatt'; there are app_switchers, "):
        locustfile("chatt")


def test_a_label_is_a_name_and_a_value() -> None:
    assert labels.parse(["a=1", "b=x=y", "c="], "--label") == {"a": "1", "b": "x=y", "c": ""}
    for text in ("a", "=1"):
        with pytest.raises(ScenarioError, match=f"--gauge-label '{text}': write it as NAME=VALUE"):
            labels.parse([text], "--gauge-label")
