"""How many users a run will have, before it begins. In a process of its own: importing Locust would patch this one."""

import json
import subprocess
import sys

import pytest

# Each case makes a scenario's classes and the options of a command line. It says what `--processes auto` becomes.
PROGRAM = """
import json, os, sys
from types import SimpleNamespace
from locust import LoadTestShape
from streamgauge.harness.calibration import machine
from streamgauge.harness.run import planned_load
from streamgauge.scenario import Ramp, Spike, Steps, StreamUser, Wave

machine.cores = lambda: 16

def told(scenario="", **case):
    said = []
    planned_load.say = said.append
    exec(scenario)
    options = SimpleNamespace(**{
        "processes": "auto", "master": False, "worker": False, "headless": True, "autostart": False,
        "num_users": None, "host": "http://x", "user_classes": None, "gauge_client": None, "gauge_config": None,
        "gauge_arrivals": None, "gauge_rate": None, **case,
    })
    planned_load.resolve_auto(options)
    return options.processes, said

for what, case in json.loads(sys.argv[1]).items():
    if os.fork():
        os.wait()  # each case has its classes in a process of its own
    else:
        print(json.dumps([what, *told(**case)]), flush=True)
        os._exit(0)
"""
CASES = {
    "the number of users": ({"num_users": 1_600}, 4, "4 for 1,600 users, by the default of 500"),
    "no number: Locust's one user": ({}, None, "1 for 1 user, "),
    "no number, in the web UI": ({"headless": False}, 16, "16, one for each core: "),
    "a shape, whatever --users says": (
        {"scenario": "class Load(Steps):\n    users = (5, 2_100, 7)", "num_users": 3}, 5, "5 for 2,100 users, "),
    "a spike": ({"scenario": "class Load(Spike):\n    users = (5, 900)"}, 2, "2 for 900 users, "),
    "a ramp": ({"scenario": "class Load(Ramp):\n    users = 700"}, 2, "2 for 700 users, "),
    "a shape of one's own": (
        {"scenario": "class Load(LoadTestShape):\n    def tick(self): pass", "num_users": 3}, 16,
        "16, one for each core: "),
    "an open load": ({"gauge_arrivals": "constant", "gauge_rate": 50.0}, 3, "3 for 1,500 users, "),
    "the client of the user class": (
        {"scenario": "class A(StreamUser):\n    client = 'httpx'", "num_users": 100}, 2,
        "2 for 100 users with the client httpx, "),
    "the client of the options": (
        {"scenario": "class A(StreamUser):\n    client = 'httpx'", "num_users": 100, "gauge_client": "wire"}, None,
        "1 for 100 users, "),
    "the host of the user class": (
        {"scenario": "class A(StreamUser):\n    host = 'HTTPS://x'", "num_users": 9, "host": None}, None,
        "1 for 9 users over TLS, "),
    "a number": ({"processes": 3}, 3, ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | None, list[str]]]:
    folder = tmp_path_factory.mktemp("planned")
    cases = json.dumps({what: case for what, (case, _, _) in CASES.items()})
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, cases], capture_output=True, text=True, check=True, cwd=folder,
        env={"XDG_STATE_HOME": str(folder)},
    )  # fmt: skip
    lines = map(json.loads, ended.stdout.splitlines())
    return {what: (count, said) for what, count, said in lines}


@pytest.mark.parametrize("what", CASES)
def test_automatic_processes_go_by_the_most_users_that_the_run_will_have(
    what: str, told: dict[str, tuple[int | None, list[str]]]
) -> None:
    _, count, why = CASES[what]
    found, said = told[what]
    assert found == count
    assert len(said) == bool(why)
    assert all(line.startswith(f"streamgauge: --processes auto: {why}") for line in said)
