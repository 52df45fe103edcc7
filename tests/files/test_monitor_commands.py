"""`monitor`, `incidents` and `merge` where they start no process: mistakes, and what they print."""

import sqlite3
from pathlib import Path

import pytest

from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import incidents
from streamgauge.harness.monitor.incidents import Firing
from streamgauge.harness.monitor.ledger import Seen
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.plan import lines
from tests.support.command import invoke
from tests.support.hostile_text import ACTING, NASTY
from tests.support.monitoring import TARGETS, config

SLO = '[[slo]]\nname = "a"\ngood = "ttft < 1s"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{TARGETS}{SLO}objective = "100%"', "slo[0].objective: 100 % leaves no error budget"),
        (SLO, "there is nothing to probe: write at least one [[monitor.target]]"),
        (f'{TARGETS}[monitor]\nscenario = "caht"', "no scenario called 'caht'; there are app_switchers"),
        (f'{TARGETS}scenario = "mine.py"', "mine.py: no such file"),
        (
            f'{TARGETS}{SLO}[[alert]]\nkind = "slack"\nurl = "${{NO_SUCH_URL}}"',
            "the environment has no variable 'NO_SUCH_URL'",
        ),
        (f'{TARGETS}[monitor]\nheartbeat = "${{NO_SUCH_URL}}"', "the environment has no variable 'NO_SUCH_URL'"),
    ],
)
def test_a_mistake_ends_the_monitor_before_it_begins(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    monitor, _, rest = text.partition("[monitor]")
    path.write_text(f"[monitor]{rest}\n{monitor}" if rest else text)
    result = invoke("monitor", "--config", path, "--db", tmp_path / "m.db")
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout


def test_without_a_config_there_is_no_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("monitor")
    assert (result.exit_code, result.stderr) == (2, "streamgauge: ./streamgauge.toml: no such config file\n")


def test_a_test_alert_without_a_receiver_says_that_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(TARGETS)
    result = invoke("monitor", "--config", tmp_path / "m.toml", "--test-alert")
    assert result.exit_code == 2
    assert "the config has no [[alert]]" in result.stderr


def test_the_plan_tells_what_it_costs_and_what_hardly_alerts() -> None:
    given = config(
        '[target.prices]\ninput = 3.0\noutput = 15.0\n[monitor]\nevery = "40m"\ntokens_per_day = 1_000_000\n', TARGETS
    )
    told = "\n".join(lines(given, levels(given)))
    assert "at most 1,000,000 tokens a day, which cost at most 15.00 USD" in told
    assert "first token (ttft < 2s, 95 %), errors (not failed, 99 %), completion (completed, 99 %)" in told
    assert "an hour holds fewer than 3 visits, so the fastest alert needs several bad probes in one visit" in told
    assert "nobody is told of incidents" in told


@pytest.mark.parametrize(
    ("every", "window", "expected"),
    [
        ("30m", "30d", ""),  # three probes may come within 54 minutes
        ("34m", "30d", ""),  # or be due within 61.2 minutes and end within 56.2, as the first may take five
        ("37m", "30d", "the fastest alert needs several bad probes in one visit for slow"),
        ("3h", "30d", "the fastest alert needs several bad probes in one visit for slow"),
        ("4h", "30d", "a page needs several bad probes in one visit for slow"),
        ("25m", "1h", ""),
        ("40m", "1h", "a page needs several bad probes in one visit for slow"),
    ],
)
def test_the_plan_says_which_pages_hardly_fire_because_probes_are_rare(every: str, window: str, expected: str) -> None:
    slo = f'[[slo]]\nname = "slow"\ngood = "ttft < 2s"\nwindow = "{window}"\n'
    plain = '[[slo]]\nname = "plain"\ngood = "completed"\nfailures = 3\n'
    given = config(f'[monitor]\nevery = "{every}"\n{slo}{plain}', TARGETS)
    told = [line for line in lines(given, levels(given)) if "bad probes" in line]
    assert [expected in line for line in told] == ([True] if expected else [])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "m.db"
    seen = Seen(7, NASTY, 1_680_000_000.0, NASTY, 2_345.0)
    with MonitorStore.create(path) as store, store.transaction() as connection:
        for number, ended in enumerate((None, 1_680_000_600.0), 1):
            incidents.begin(
                connection,
                Firing(
                    number=number, part_of=number, key=f"k{number}", slo=NASTY, target=NASTY, group="eu",
                    severity="page", objective=0.99, began=1_680_000_000.0, ended=ended, budget_left=-1.5,
                    evidence={NASTY: NASTY}, summary=NASTY, worst=(seen,),
                ),
            )  # fmt: skip
    return path


def test_incidents_are_listed_newest_first_and_nothing_in_them_acts_on_a_terminal(database: Path) -> None:
    listed, document = invoke("incidents", database), invoke("incidents", database, "--json")
    assert listed.exit_code == document.exit_code == 0
    assert "since 2023-03-28 10:40:00 UTC, lasted 10 min; -150 % of the error budget left" in listed.stdout
    assert "TTFT 2.35 s" in listed.stdout
    assert listed.stdout.index("over") < listed.stdout.index("goes on")
    for result in (listed, document):
        assert not ACTING.search(result.output)


@pytest.mark.parametrize(
    "damage",
    [
        "evidence = '['", "severity = 'sms'", "evidence = CAST(x'7bff7d' AS TEXT)", "began = 9e999",
        "slo = CAST(x'ff' AS TEXT)", "part_of = NULL, evidence = '{'",
    ],
)  # fmt: skip
def test_an_incident_that_no_version_wrote_is_named_in_one_line_and_the_others_are_shown(
    database: Path, damage: str
) -> None:
    with sqlite3.connect(database) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(f"UPDATE incidents SET {damage} WHERE id = 1")
    page = database.with_suffix(".html")
    for result in (invoke("incidents", database), invoke("status", database, "-o", page)):
        assert result.exit_code == 0
        assert "streamgauge: incidents, row 1, is damaged and left out" in result.stderr
        assert result.stderr.count("\n") == 1
    assert "lasted 10 min" in invoke("incidents", database).stdout
    assert "1 incident, the newest first. incidents, row 1, is damaged" in page.read_text()


def test_a_database_without_incidents_says_so(tmp_path: Path) -> None:
    MonitorStore.create(tmp_path / "m.db").close()
    assert invoke("incidents", tmp_path / "m.db").stdout == "no incident\n"
    result = invoke("merge", tmp_path / "m.db", "-o", tmp_path / "all.db")
    assert "give two databases or more" in result.stderr
