"""A monitor's database: rounds of its judge, what is kept of probes, and databases joined."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from sqlite_utils import Database

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.drive.prompts import Prompt, ask
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Store, monitor_schema
from streamgauge.harness.judge.store.merged import merge
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.judge.store.spent import tokens_since
from streamgauge.harness.monitor import hours, incidents, retention, standing
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.judging import Judge
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.status import Reader
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support import monitoring
from tests.support.late import Late
from tests.support.monitoring import TARGETS
from tests.support.record import a_run, a_run_of_probes, observation

probing = Late("streamgauge.harness.run.probing")
START = 1_680_000_000  # seconds since 1970: a full minute
CONFIG = f'{TARGETS}\n[[slo]]\nname = "first token"\ngood = "ttft < 1.5s"\n'
EVERY = 60


class Monitor:
    """Probes that are stored as a prober stores them, and the judge of them."""

    def __init__(self, path: Path, text: str = CONFIG, run: str = "run-1") -> None:
        self.store = MonitorStore.create(path)
        self.config = parse(text.encode())
        self.alerts: list[Alert] = []
        self.begin(run, START)

    def begin(self, run: str, at: int) -> None:
        self.run = a_run_of_probes("eu", id=run, realtime_ns=at * 10**9, labels={"region": "eu"})
        self.store.start_run(self.run)
        self.restart()

    def restart(self) -> None:
        """As after a kill: another judge, that knows only what is stored."""
        self.judge = Judge(self.store, self.config, levels(self.config), lambda _: self._put)

    def _put(self, alert: Alert, _: float) -> bool:
        self.alerts.append(alert)
        return True

    def probes(self, ttfts: Sequence[float | None], first: int = 0, **fields: Any) -> None:
        """One each minute from minute `first` on; None: it is refused."""
        self.store.append(self.run.id, [self.probe(first + n, ttft, **fields) for n, ttft in enumerate(ttfts)], [])

    def probe(self, minute: float, ttft: float | None, **fields: Any) -> StreamObservation:
        zero = START - self.run.realtime_ns / 1e9
        chunks = [] if ttft is None else [("text", ttft), ("text", ttft + 20)]
        outcome = Outcome.REFUSED if ttft is None else Outcome.COMPLETED
        tokens = {"input_tokens": 20, "output_tokens": 30}
        return observation(chunks, outcome=outcome, due=(zero + minute * EVERY + 10) * 1_000, **tokens | fields)

    def round(self, minute: float) -> None:
        while self.judge.round(START + minute * EVERY + 5).more:
            pass


@pytest.fixture
def monitor(tmp_path: Path) -> Monitor:
    return Monitor(tmp_path / "monitor.db")


def test_probes_are_judged_once_and_an_incident_keeps_its_worst_streams(monitor: Monitor) -> None:
    monitor.round(0)
    monitor.probes([400] * 60)
    monitor.round(60)
    for minute, ttft in enumerate([None, 2_000, 9_000, *[1_600] * 17], 60):
        monitor.probes([ttft], first=minute)
        monitor.round(minute + 1)
        monitor.restart()
    (ticket, alert) = monitor.alerts
    assert (alert.severity, alert.since, ticket.severity) == ("page", START + 64 * EVERY, "ticket")
    assert (alert.evidence["bad"], ticket.evidence["bad"]) == (4, 3), (
        "6 % of 64 probes, in a monitor that is younger than six hours"
    )
    assert [seen["ttft_ms"] for seen in alert.evidence["worst"][:3]] == [None, 9_000, 2_000]
    assert "good" in alert.evidence
    monitor.probes([400] * 300, first=80)
    monitor.round(380)
    assert [each.status for each in monitor.alerts] == ["firing", "firing", "resolved"]
    with monitor.store.reading() as connection:
        (good, bad), *_ = connection.execute("SELECT good, bad FROM monitor_counts ORDER BY minute DESC").fetchall()
        ((incident,), _) = incidents.newest(connection, 10)
    assert (good, bad) == (360, 20)
    assert [(each.severity, each.ended is None) for each in incident.firings] == [("ticket", True), ("page", False)]
    assert incident.ended is None


def test_a_transaction_that_fails_is_made_again_as_if_it_had_not_been(monitor: Monitor) -> None:
    monitor.round(0)
    monitor.probes([2_000] * 20)

    def fails(*_: object) -> bool:
        raise StoreError("the disk is full")

    broken = Judge(monitor.store, monitor.config, levels(monitor.config), lambda _: fails)
    with pytest.raises(StoreError):
        broken.round(START + 20 * EVERY + 5)
    monitor.restart()
    monitor.round(20)
    assert [each.severity for each in monitor.alerts] == ["page", "ticket"]
    with monitor.store.reading() as connection:
        assert connection.execute("SELECT max(bad) FROM monitor_counts").fetchone() == (20,)


def test_a_damaged_row_is_left_out_and_hides_no_other(monitor: Monitor, tmp_path: Path) -> None:
    monitor.round(0)
    monitor.probes([400, 500, 600])
    with sqlite3.connect(tmp_path / "monitor.db") as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("UPDATE streams SET arrivals = x'ff00ff' WHERE id = 2")
    judged = monitor.judge.round(START + 3 * EVERY + 5)
    assert judged.probes == 2
    assert len(judged.unread) == 1
    assert "streams, row 2" in judged.unread[0]


def test_runs_of_others_in_the_same_file_count_for_nothing(monitor: Monitor) -> None:
    monitor.round(0)
    monitor.store.start_run(a_run(id="mine", realtime_ns=START * 10**9, labels={"target": "eu"}))
    monitor.store.append("mine", [monitor.probe(0, 9_000) for _ in range(20)], [])
    monitor.round(5)
    assert not monitor.alerts
    retention.drop(monitor.store, 3_600, START + 10**7)
    assert monitor.store.count("mine") == 20


def test_probes_in_maintenance_do_not_count(tmp_path: Path) -> None:
    text = f'{CONFIG}[[monitor.maintenance]]\nday = "every"\nat = "10:40"\nlasts = "1h"\n'  # START is 10:40 UTC
    monitor = Monitor(tmp_path / "m.db", text)
    monitor.round(0)
    monitor.probes([9_000] * 58)
    monitor.round(61)
    assert not monitor.alerts
    monitor.probes([400] * 10, first=61)
    monitor.round(72)
    with monitor.store.reading() as connection:
        assert connection.execute("SELECT max(good), max(bad) FROM monitor_counts").fetchone() == (10, 0)


def test_old_probes_become_hourly_summaries_and_those_behind_an_incident_stay(monitor: Monitor) -> None:
    monitor.round(0)
    day = 24 * 60
    ttfts = np.random.default_rng(1).lognormal(6, 0.4, 3 * day).round().tolist()
    for first in range(0, 3 * day, day):
        if first:
            monitor.begin(f"run-{first}", START + first * EVERY)
        monitor.probes(ttfts[first : first + day], first=first, labels={"prompt": "short"})
        monitor.round(first + day)
    monitor.probes([None] * 20, first=3 * day)
    monitor.round(3 * day + 20)
    assert monitor.alerts
    monitor.begin("run-later", START + 5 * day * EVERY)
    monitor.probes([400] * 30, first=5 * day)
    monitor.round(5 * day + 40)
    over = START + (5 * day + 101) * EVERY
    dropped = retention.drop(monitor.store, 3_600.0, over)
    assert dropped == 3 * day + 15 + 29, (
        "five are behind the page and the ticket; of the later ones, the last one stays"
    )
    assert {run.id for run in monitor.store.runs()} == {"run-2880", "run-later"}
    with monitor.store.reading() as connection:
        whole = hours.Summary()
        for place, summary in hours.read(connection):
            assert place.target == "eu"
            if place.hour < (START + 3 * day * EVERY) // 3_600:
                whole.add(summary)
        for each in incidents.newest(connection, 9).incidents:
            for seen in each.worst:
                assert connection.execute("SELECT count(*) FROM streams WHERE id = ?", [seen.stream]).fetchone() == (1,)
    values, counts = whole.samples["ttft"].values("ttft")
    for share in (0.5, 0.95):
        merged = float(np.quantile(np.repeat(values, counts), share))
        assert merged == pytest.approx(float(np.quantile(ttfts[: int(counts.sum())], share)), rel=0.02)
    assert retention.drop(monitor.store, 3_600.0, over) == 0


def test_a_clock_that_is_set_far_forward_makes_nothing_old_at_once(monitor: Monitor) -> None:
    monitor.round(0)
    monitor.probes([400] * 100)
    monitor.round(100)
    years = 10 * 365 * 86_400
    told = monitor.judge.round(START + 100 * EVERY + years)
    assert "nothing was judged for 3,650 d: the monitor was down, or the clock was set forward" in told.news[-1]
    assert "what was stored before is kept for another 7 d" in told.news[-1]
    assert not monitor.judge.round(START + 101 * EVERY + years).news
    monitor.judge.thin()
    assert retention.drop(monitor.store, 3_600.0, START + 110 * EVERY + years) == 50, "those that were old before"
    monitor.begin("ahead", START + 111 * EVERY + years)
    monitor.probes([400] * 30, first=111 + years // EVERY)
    monitor.judge.round(START + 141 * EVERY + years)
    monitor.judge.round(START + 120 * EVERY)  # the clock is right again
    monitor.begin("back", START + 121 * EVERY)
    monitor.probes([400] * 30, first=121)
    monitor.judge.round(START + 160 * EVERY)
    with monitor.store.reading() as connection:
        ((counted,),) = connection.execute("SELECT max(good + bad) FROM monitor_counts").fetchall()
    assert counted == 130, "those of the wrong clock count no more"
    before = START + 160 * EVERY
    assert retention.drop(monitor.store, 3_600.0, before) == 50, "and what is dated ahead hides no other"


def test_a_stream_that_is_not_judged_yet_is_never_dropped(monitor: Monitor) -> None:
    monitor.probes([400] * 10)
    assert retention.drop(monitor.store, 3_600.0, START + 10**7) == 0
    monitor.judge.round(START + 10**7)
    assert retention.drop(monitor.store, 3_600.0, START + 10**7) == 9, "the last one keeps its id from being used again"


def test_two_regions_are_joined_with_their_incidents_and_summaries(tmp_path: Path) -> None:
    for region in ("eu", "us"):
        monitor = Monitor(tmp_path / f"{region}.db", run=f"run-of-{region}")
        monitor.round(0)
        monitor.probes([None] * 20)
        monitor.round(20)
        with monitor.store.transaction() as connection:
            standing.remember(connection, levels(monitor.config))
        monitor.store.close()
    merge([str(tmp_path / "eu.db"), str(tmp_path / "us.db")], str(tmp_path / "all.db"))
    with MonitorStore.open(tmp_path / "all.db") as store, store.reading() as connection:
        found, _ = incidents.newest(connection, 10)
        assert {(each.main.target, *each.severities) for each in found} == {
            (f"eu ({region})", "page", "ticket") for region in ("eu", "us")
        }
        for each in found:
            for seen in each.worst:
                (run,) = connection.execute(
                    "SELECT runs.id FROM streams JOIN runs ON run = number WHERE streams.id = ?", [seen.stream]
                ).fetchone()
                assert run == seen.run
        stands = {each.target: each.in_window.bad for each in standing.standings(connection, [3_600])}
        assert stands == {"eu (eu)": 20, "eu (us)": 20}
        assert {place.target for place, _ in hours.read(connection)} == {"eu (eu)", "eu (us)"}
        assert {run.labels["target"] for run in store.runs()} == {"eu (eu)", "eu (us)"}
        assert sum(store.count(run.id) for run in store.runs()) == 40
    with pytest.raises(StoreError, match="exists already"):
        merge([str(tmp_path / "eu.db"), str(tmp_path / "us.db")], str(tmp_path / "all.db"))
    (tmp_path / "copy.db").write_bytes((tmp_path / "eu.db").read_bytes())
    with pytest.raises(StoreError, match="holds the run 'run-of-eu', as one of the files before it does"):
        merge([str(tmp_path / "eu.db"), str(tmp_path / "copy.db")], str(tmp_path / "twice.db"))
    assert not (tmp_path / "twice.db").exists()


def test_a_database_of_runs_alone_is_not_a_monitors(tmp_path: Path) -> None:
    Store.create(tmp_path / "runs.db").close()
    with pytest.raises(StoreError, match="not written by a monitor; give the --db of `streamgauge monitor`"):
        MonitorStore.open(tmp_path / "runs.db")


def test_a_clock_that_was_set_forward_and_back_costs_only_the_time_between(monitor: Monitor) -> None:
    monitor.round(0)
    monitor.probes([400] * 5)
    monitor.round(5)
    monitor.round(50_000)  # a month
    for minute in range(5, 25):
        monitor.probes([9_000], first=minute)
        monitor.round(minute + 1)
    assert [each.severity for each in monitor.alerts] == ["page", "ticket"]


def test_a_quiet_round_takes_no_lock_and_a_quiet_monitor_says_every_ten_seconds_that_it_lives(monitor: Monitor) -> None:
    monitor.round(0)
    with sqlite3.connect(monitor.store.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert monitor.judge.round(START + 6).probes == 0  # it would wait for ten seconds for the lock
        other.execute("ROLLBACK")
    monitor.judge.round(START + 15.5)
    assert monitor.store.value("judged_at", None) == START + 15.5


def test_what_is_in_time_needs_a_probe_of_each_target(monitor: Monitor) -> None:
    assert not monitor.judge.round(START + 5).in_time, "nothing has been probed yet"
    monitor.probes([400])
    assert monitor.judge.round(START + 70).in_time
    late = monitor.judge.round(START + 70 + 60 * EVERY)
    assert (late.in_time, late.silent) == (False, ["eu"])


def test_a_damaged_hour_is_begun_anew_and_a_damaged_state_is_one_line(monitor: Monitor) -> None:
    monitor.probes([400])
    monitor.round(1)
    with monitor.store.transaction() as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute("UPDATE monitor_hours SET histograms = '{x'")
    with monitor.store.reading() as connection, pytest.raises(StoreError, match="monitor_hours, hour 466666: damaged"):
        list(hours.read(connection))
    (sentence,) = Reader(monitor.store).read(START + 60).damaged
    assert sentence.startswith("monitor_hours, hour 466666: damaged")
    assert sentence.endswith("it is left out")
    monitor.probes([400], first=1)
    monitor.round(2)
    with monitor.store.reading() as connection:
        ((_, summary),) = hours.read(connection)
    assert summary.outcomes == {"completed": 1}
    with monitor.store.transaction() as connection:
        connection.execute("UPDATE monitor_state SET value = 'x' WHERE name = 'cursor'")
    monitor.restart()
    with pytest.raises(StoreError, match="monitor_state: cursor is no number"):
        monitor.round(3)


def test_probes_of_a_clock_that_was_set_back_since_count_now(monitor: Monitor) -> None:
    monitor.begin("ahead", START + 3_600)
    monitor.store.append("ahead", [observation([("text", 9_000)], due=10_000) for _ in range(20)], [])
    assert monitor.judge.round(START + 65).in_time
    with monitor.store.reading() as connection:
        assert standing.newest_minute(connection) == START // 60 + 1
    assert not monitor.judge.round(START + 3_000).in_time, "nobody probes, whatever the probes' own clock said"


def test_probes_are_left_out_once_the_last_day_s_streams_have_spent_the_budget(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db", CONFIG.replace("[[slo]]", "[monitor]\ntokens_per_day = 8_000\n[[slo]]", 1))
    now = int(time.time())
    monitor.begin("run-now", now - 600)

    def spending(body: dict[str, Any] = {}) -> Any:  # noqa: B006 - not changed
        config = replace(monitor.config, target=replace(monitor.config.target, body=body))
        form = RequestFormat.of(config.target, for_target(config.target), Variables(), "eu")
        return probing.Spending(config, form, tokens_since(monitor.store, "eu", now - probing.DAY), now)

    assert not spending({"max_tokens": 4_000}).may_ask(Prompt((("user", "?"),), max_tokens=32), 1), (
        "what is sent counts"
    )
    assert not spending({"tools": ["x" * 9_000]}).may_ask(ask("?"), 1), "so does all that is in the question"
    assert spending().may_ask(ask("?"), 1), "a quarter of a day's tokens at once"
    spent = [observation(due=1_000 * n, input_tokens=100, output_tokens=300) for n in range(5)]
    monitor.store.append("run-now", spent, [])
    assert not spending().may_ask(ask("?"), 1)


def test_in_a_database_of_an_older_version_what_fired_at_the_same_time_becomes_one_incident() -> None:
    watched = monitoring.Monitor(monitoring.config(CONFIG, targets=""))
    day = 1_440
    bad = monitoring.outages(
        30 * day, [(9 * day, 9 * day + 60), (9 * day + 120, 9 * day + 180), (20 * day, 20 * day + 12)]
    )
    for minute, is_bad in enumerate(bad.tolist()):
        watched.minute(minute, [("eu", not is_bad)])
    expected = incidents.newest(watched.connection, 10)
    assert [each.severities for each in expected.incidents] == [["page"], ["page", "ticket"]]
    for statement in (
        "DROP INDEX parts_of_incidents",
        "ALTER TABLE incidents DROP COLUMN part_of",
        "DELETE FROM _sqlite_migrations WHERE name = 'm003_parts_of_incidents'",
    ):
        watched.connection.execute(statement)
    as_they_are = incidents.newest(watched.connection, 10).incidents
    assert len(as_they_are) == 4, "of a file that cannot be written, each row is one"
    monitor_schema.migrate(Database(watched.connection))
    assert incidents.newest(watched.connection, 10) == expected
