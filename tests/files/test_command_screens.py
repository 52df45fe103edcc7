"""The screens of a run, its gate, `noise`, `runs` and `compare`, and of ten mistakes: `tests/data/screens/commands`.

STREAMGAUGE_WRITE_SCREENS=1 writes the files again; then look at them.
"""

import os
from functools import cache
from pathlib import Path

import pytest

from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.compare.stored_runs import with_baseline
from streamgauge.harness.judge.outputs import terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.record.observation import Outcome
from tests.support.accepted import KIND, add, fill
from tests.support.command import invoke
from tests.support.record import MS, a_run, observation, ttfts

FOLDER = Path(__file__).parents[1] / "data/screens/commands"
RULES = [Sla(rule="p95(ttft) < 1s"), Sla(rule="error_rate < 10%"), Sla(rule="p50(ttft) < 350ms", severity="warn")]
SLOWER = [f"slow-{place}" for place in range(8)]  # the first three, and five fresh ones
MISTAKES = {
    "unknown_command": "jugde gauge.db",
    "unknown_option": "runs gauge.db --formt csv",
    "empty_rule": "judge gauge.db --config empty.toml",
    "no_database": "judge gage.db",
    "unknown_run": "judge gauge.db --run odl-3",
    "unknown_baseline": "compare gauge.db --baseline mian",
    "unknown_output": "judge gauge.db --output junitt=x.xml",
    "unknown_scenario": "run caht --host http://127.0.0.1:9",
    "unknown_metric": "judge gauge.db --config typo.toml",
    "unknown_key": "compare gauge.db --baseline main --config key.toml",
    "label_without_value": "run chat --host http://127.0.0.1:9 --label build",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten accepted runs, a series of three that is equal, one that is slower, and a run with failures."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("typo.toml").write_text('[[sla]]\nrule = "p95(ttfb) < 1s"\n')
    Path("key.toml").write_text("[regresion]\n")
    Path("empty.toml").write_text("[[sla]]\n")
    Path("gauge.db").write_bytes(_database())
    return tmp_path


@cache
def _database() -> bytes:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    with Store.create("gauge.db") as store:
        for name in SLOWER:
            add(store, a_run(id=name, fingerprint=KIND, labels={"series": "8"}, rules=RULES), 520)
        strict = [Sla(rule="error_rate < 1%"), Sla(rule="p95(ttft) < 1s")]
        store.start_run(a_run(id="failing", fingerprint=KIND, rules=strict, labels={"build": "a b"}))
        refused = observation((), outcome=Outcome.REFUSED, http_status=401, detail='HTTP 401: {"error": "no key"}')
        store.append("failing", [*ttfts(range(100, 400)), *[refused] * 12])
        store.finish_run("failing", ended_ns=10_000 * MS, status="finished")
    return Path("gauge.db").read_bytes()


def compare(name: str, screen: str) -> None:
    file = FOLDER / f"{name}.txt"
    if os.environ.get("STREAMGAUGE_WRITE_SCREENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(screen)
    assert screen == file.read_text()


def of_command(words: str) -> str:
    ended = invoke(*words.split())
    screen = "".join(f"{line.rstrip()}\n" for line in ended.output.splitlines())
    for before in ("Usage: ", "Try '"):  # here click does not know the command's name
        screen = screen.replace(f"{before}main", f"{before}streamgauge")
    return f"{screen}exit code {ended.exit_code}\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run_met", "judge gauge.db --run slow-0"),
        ("run_missed", "judge gauge.db --run failing"),
        ("run_without_rules", "judge gauge.db --run old-0"),
        ("runs", "runs gauge.db"),
        ("noise", "baseline noise gauge.db --name main"),
        ("compare_equal", "compare gauge.db --baseline main --run new-0 --run new-1 --run new-2"),
        ("compare_suspicious", "compare gauge.db --baseline main --run slow-0 --run slow-1 --run slow-2"),
        ("compare_regressed", f"compare gauge.db --baseline main --run {' --run '.join(SLOWER)}"),
        ("compare_two_runs", "compare gauge.db --run old-0 --run slow-0"),
        ("history", "history gauge.db"),
        *((f"mistake_{name}", words) for name, words in MISTAKES.items()),
    ],
)
def test_a_command_shows_the_screen_of_that_name(name: str, words: str) -> None:
    compare(name, of_command(words))


def test_a_gated_run_shows_the_screen_of_that_name() -> None:
    config = load()
    with Store.open("gauge.db") as store:
        compared = with_baseline(store, "main", SLOWER, Gate.of(config.regression))
        compare("run_gate_regressed", terminal.gated_text(Gated(judge(store, "slow-0"), compared)))
