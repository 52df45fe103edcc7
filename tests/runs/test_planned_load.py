"""How many users a run will have, before it begins. In a process of its own: importing Locust would patch this one."""

import json
import subprocess
import sys
from typing import Any

import pytest

# Each case makes a scenario's classes and the options of a command line. It says what `--processes auto` becomes.
PROGRAM = """
import json, os, sys
from types import SimpleNamespace
from locust import LoadTestShape
from streamgauge.harness import cores
from streamgauge.harness.run import planned_load
from streamgauge.scenario import Ramp, Spike, Steps, StreamUser, Wave

cores.usable = lambda: 16

def told(scenario="", workers=None, shape="", **case):
    said = []
    planned_load.say = said.append
    exec(scenario, globals())
    options = SimpleNamespace(**{
        "processes": "auto", "master": False, "worker": False, "headless": True, "autostart": False,
        "num_users": None, "host": "http://x", "user_classes": None, "gauge_client": None, "gauge_config": None,
        "gauge_arrivals": None, "gauge_rate": None, **case,
    })
    planned_load.resolve_auto(options)
    if workers is None:
        return options.processes, said
    environment = SimpleNamespace(parsed_options=options, shape_class=eval(shape) if shape else None, user_classes=[])
    return planned_load.advice(environment, "https://x", workers)

for what, case in json.loads(sys.argv[1]).items():
    if os.fork():
        os.wait()  # each case has its classes in a process of its own
    else:
        print(json.dumps([what, told(**case)]), flush=True)
        os._exit(0)
"""
CASES: dict[str, tuple[dict[str, Any], int | None, str]] = {
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


ADVICE: dict[str, tuple[dict[str, Any], str]] = {
    "no certificate, few users": ({"num_users": 250}, ""),
    "no certificate, many users": (
        {"num_users": 251}, "251 users over TLS in 1 process: not calibrated: run `streamgauge calibrate`"),
    "processes of this machine": (
        {"num_users": 600, "processes": 2},
        "600 users over TLS in 2 processes: not calibrated: run `streamgauge calibrate`"),
    "workers elsewhere, few users": ({"num_users": 750, "workers": 3}, ""),
    "workers elsewhere, many users": (
        {"num_users": 900, "workers": 3},
        "900 users over TLS in 3 workers: run `streamgauge calibrate` on each machine to see what it carries"),
    "a shape": (
        {"scenario": "class Load(Steps):\n    users = (1, 300)\nshapes = Load", "shape": "shapes"},
        "300 users over TLS in 1 process: not calibrated: run `streamgauge calibrate`"),
    "the web UI": ({"headless": False}, ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("planned")
    automatic = {what: case for what, (case, _, _) in CASES.items()}
    before = {what: {"processes": None, "workers": 0, **case} for what, (case, _) in ADVICE.items()}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(automatic | before)],
        capture_output=True, text=True, check=True, cwd=folder, env={"XDG_STATE_HOME": str(folder)},
    )  # fmt: skip
    return dict(map(json.loads, ended.stdout.splitlines()))


@pytest.mark.parametrize("what", CASES)
def test_automatic_processes_go_by_the_most_users_that_the_run_will_have(what: str, told: dict[str, Any]) -> None:
    _, count, why = CASES[what]
    found, said = told[what]
    assert found == count
    assert len(said) == bool(why)
    assert all(line.startswith(f"streamgauge: --processes auto: {why}") for line in said)


@pytest.mark.parametrize("what", ADVICE)
def test_a_run_says_before_it_begins_what_is_known_of_the_machines_that_it_has(what: str, told: dict[str, Any]) -> None:
    assert told[what] == ADVICE[what][1]
