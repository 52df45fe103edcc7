"""A monitor as people start it: a server gets slow, breaks and is well again, and processes of the monitor are killed.

`make kills` kills ten times instead of four.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import psutil
import pytest

from tests.support.alert_servers import Answer, Mailbox, Receiver, http_receiver, smtp_receiver
from tests.support.alertmanager import PROGRAM, REQUIRED, alertmanager
from tests.support.command import PATIENCE, Running, command, free_port, invoke, rows, running, until
from tests.support.reference import reference_server

KILLS = max(4, int(os.environ.get("STREAMGAUGE_KILLS", "4").partition(":")[0]) // 3)
SOON = 3.0  # seconds after a phase began, in which its kills come
SAID = 5.0  # seconds after which a judge has surely said what it has stored
STORED = 10.0  # seconds in which a probe is answered and stored, on a slow machine, too
VICTIMS = {"judge": "streamgauge.harness.monitor", "prober": "eu"}  # a word of its command line
OF_EU = 'runs.labels LIKE \'%"target":"eu"%\''
# A probe that is bad only since this machine sent it late.
LATE = "(outcome = 'completed' AND first_content_at - due_at >= 5e8 AND first_content_at - due_at - send_lag < 5e8)"
SCENARIO = """
from streamgauge.scenario import Prompt, StreamUser, task

class Asker(StreamUser):
    @task
    def ask(self):
        self.stream(Prompt((("user", "?"),), max_tokens=3))
"""


@dataclass(frozen=True)
class Others:
    """What the receivers beside the webhook got."""

    slack: Receiver
    pagerduty: Receiver
    mailbox: Mailbox
    notified: Receiver  # of what a real Alertmanager tells of the alerts that it got
    manager: str | None  # None: there is no Alertmanager on this machine

    @property
    def tables(self) -> str:
        """As [[alert]] of the config."""
        port = self.mailbox.port
        tables = (
            '[[alert]]\nkind = "slack"\nurl = "${SLACK_URL}"\n'
            f'[[alert]]\nkind = "pagerduty"\nrouting_key = "${{ROUTING_KEY}}"\nurl = "{self.pagerduty.url}"\n'
            f'[[alert]]\nkind = "email"\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n'
            'from = "a@b.c"\nto = ["d@e.f"]\n'
        )
        if self.manager is not None:
            tables += f'[[alert]]\nkind = "alertmanager"\nurl = "{self.manager}"\nevery = "10s"\n'
        return tables

    @property
    def environment(self) -> dict[str, str]:
        return {"SLACK_URL": f"{self.slack.url}/services/T0/B0/xyz", "ROUTING_KEY": "0123456789abcdef" * 2}

    @property
    def told(self) -> bool:
        """Whether each has been told of beginning and end."""
        told = [len(self.slack.got), len(self.pagerduty.got), len(self.mailbox.mails)]
        return min([*told, len(self.notified.got)] if self.manager else told) >= 2


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    with ExitStack() as stack:
        slack, pagerduty, notified = (stack.enter_context(http_receiver()) for _ in range(3))
        mailbox = stack.enter_context(smtp_receiver())
        pagerduty.usual = Answer(202)
        manager = None
        if PROGRAM is not None or REQUIRED:
            folder = tmp_path_factory.mktemp("alertmanager")
            manager = stack.enter_context(alertmanager(folder, notified.url))
        yield Others(slack, pagerduty, mailbox, notified, manager)


@dataclass(frozen=True)
class Kill:
    victim: str
    after: float  # seconds since 1970: it was alive then,
    before: float  # and dead then


@dataclass(frozen=True)
class Lived:
    """What is left of a monitor that was ended by SIGTERM."""

    database: Path
    alerts: list[Any]
    others: "Others"
    kills: list[Kill]
    replaced: list[tuple[float, float]]  # since when a new server listened, and until when the old one did
    code: int
    said: str
    second: str  # what a second monitor of the same database said


class Server:
    """A server at one address that can be replaced by another one."""

    def __init__(self, stack: ExitStack) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._stack = stack
        self._running = ExitStack()
        self.replaced: list[tuple[float, float]] = []  # seconds since 1970

    def become(self, *words: object) -> None:
        """Both listen for a moment, so that nobody is turned away."""
        began, before, self._running = time.time(), self._running, self._stack.enter_context(ExitStack())
        usual = ("--port", str(self._port), "--share-port", "--preset", "exact", "--ttft", "30ms", "--itl", "10ms")
        self._running.enter_context(reference_server(*usual, *map(str, words)))
        before.close()
        self.replaced.append((began, time.time()))


@dataclass(frozen=True)
class Phase:
    """What the server does until something has happened."""

    options: tuple[str, ...]
    has_happened: Callable[[], bool]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, others: Others) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("monitor")
    (folder / "ask.py").write_text(SCENARIO)
    database = folder / "m.db"
    with ExitStack() as stack:
        receiver, server = stack.enter_context(http_receiver()), Server(stack)
        server.become()
        (folder / "m.toml").write_text(
            f'[monitor]\nscenario = "{folder}/ask.py"\nevery = "1s"\ntokens_per_day = 9_000_000\n'
            f'[[monitor.target]]\nname = "eu"\nhost = "{server.url}"\n'
            f'[[monitor.target]]\nname = "shipped"\nhost = "{server.url}"\nscenario = "probe"\n'
            '[[slo]]\nname = "first token"\ngood = "ttft < 500ms"\nfailures = 3\nsuccesses = 3\n'
            'where = { label = { target = "eu" } }\n'
            f'[[alert]]\nkind = "webhook"\nurl = "{receiver.url}"\n{others.tables}'
        )
        words = ("streamgauge", "monitor", "--config", "m.toml", "--db", "m.db")
        monitor = stack.enter_context(running(*words, cwd=folder, **others.environment))
        until(lambda: "eu: the first probe was" in monitor.said)
        second = command(*words, cwd=folder, **others.environment)
        assert second.returncode == 2
        phases = (
            Phase((), lambda: _asked(database, "outcome = 'completed'") >= 2),
            Phase(("--fault", "slow_headers:800ms"), lambda: _asked(database, "headers_at - due_at > 500000000") >= 1),
            Phase(("--fault", "http_503"), lambda: bool(receiver.got) and _asked(database, "outcome = 'refused'") >= 2),
            Phase((), lambda: len(receiver.got) >= 2 and others.told),
        )
        kills = _live(server, phases, monitor)
        psutil.Process(monitor.pid).terminate()
        output, errors = monitor.communicate()
        print(output, errors)
        alerts = [each.document for each in receiver.got]
        yield Lived(database, alerts, others, kills, server.replaced, monitor.wait(), errors, second.stderr)


def _live(server: Server, phases: Sequence[Phase], monitor: Running) -> list[Kill]:
    """Go through the phases, and kill parts of the monitor at random moments."""
    seed = SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    random = Random(seed)
    plan = sorted((random.randrange(len(phases)), random.uniform(0, SOON)) for _ in range(KILLS))
    kills: list[Kill] = []
    for number, phase in enumerate(phases):
        server.become(*phase.options)
        began = time.monotonic()
        for _, moment in (kill for kill in plan if kill[0] == number):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            kills.append(_kill(monitor.pid, ("judge", "prober")[len(kills) % 2]))
        until(phase.has_happened)
    return kills


def _asked(database: Path, how: str) -> int:
    """How many stored probes of eu were so."""
    ((found,),) = rows(database, f"SELECT count(*) FROM streams JOIN runs ON run = number WHERE {OF_EU} AND {how}")
    return int(found)


def _kill(monitor: int, victim: str) -> Kill:
    """Kill this part of the monitor as soon as it is there, and wait until the monitor knows."""
    found: list[psutil.Process] = []

    def there() -> bool:
        for child in psutil.Process(monitor).children():
            with suppress(psutil.NoSuchProcess):  # it ended just now
                if VICTIMS[victim] in child.cmdline():
                    found.append(child)
                    return True
        return False

    until(there)
    after = time.time()
    found[0].kill()
    found[0].wait(PATIENCE)  # or the next kill could meet it once more
    return Kill(victim, after, time.time())


def test_it_ends_well_and_tells_of_what_was_killed(lived: Lived) -> None:
    assert lived.code == 0
    assert lived.said.count("was killed by SIGKILL; it is started again") == KILLS
    assert "Traceback" not in lived.said
    assert "eu: the first probe was completed, ttft " in lived.said
    for status in ("firing", "resolved"):
        said = lived.said.count(f"page, {status}: first token of eu")
        ((stored,),) = rows(lived.database, f"SELECT put_at FROM alerts WHERE status = '{status}'")
        # What a judge was to say when it was killed is in the database, and its successor does not say it.
        cut_off = any(each.victim == "judge" and each.before > stored > each.after - SAID for each in lived.kills)
        assert said == 1 or (said == 0 and cut_off)


def test_one_incident_is_told_once_and_its_end_once(lived: Lived) -> None:
    told = {alert["id"]: (alert["status"], alert["slo"], alert["target"]) for alert in lived.alerts}
    assert [*told.values()] == [("firing", "first token", "eu"), ("resolved", "first token", "eu")]
    again = [
        alert for place, alert in enumerate(lived.alerts) if alert["id"] in {e["id"] for e in lived.alerts[:place]}
    ]
    assert all(alert["may_be_repeated"] for alert in again), "sent again only if a kill left it unknown"
    assert len({alert["key"] for alert in lived.alerts}) == 1
    worst = lived.alerts[0]["evidence"]["worst"]
    assert len(worst) >= 3
    result = invoke("incidents", lived.database, "--json")
    (incident,) = json.loads(result.output)["incidents"]
    assert incident["ended"] - incident["began"] > 1
    assert incident["worst"][0]["outcome"] == "refused", "worse than a slow one"
    assert "page: first token of eu, over" in invoke("incidents", lived.database).output


def test_every_receiver_is_told_of_beginning_and_end(lived: Lived) -> None:
    others = lived.others
    events = [got.document for got in others.pagerduty.got]
    assert [*dict.fromkeys(event["event_action"] for event in events)] == ["trigger", "resolve"]
    assert {event["dedup_key"] for event in events} == {lived.alerts[0]["key"]}
    said = [got.document["text"] for got in others.slack.got]
    assert ["FIRING" in each for each in dict.fromkeys(said)] == [True, False]
    subjects = [mail["Subject"] for mail in others.mailbox.mails]
    assert [*dict.fromkeys(subjects)] == ["FIRING page: first token at eu", "RESOLVED page: first token at eu"]
    for sent in (events, said, subjects):
        assert 2 <= len(sent) <= 2 + len(lived.kills), "a kill can leave one attempt unknown"


def test_a_real_alertmanager_tells_of_the_alert_once_and_of_its_end_once(lived: Lived) -> None:
    if lived.others.manager is None:
        pytest.skip("no Alertmanager (Debian: prometheus-alertmanager)")
    assert [got.document["status"] for got in lived.others.notified.wait_for(2)] == ["firing", "resolved"]


def test_no_probe_is_doubled_and_each_that_is_missing_was_due_while_no_prober_was_ready(lived: Lived) -> None:
    select = "SELECT (realtime_ns + due_at) / 1000000000 AS slot, realtime_ns / 1e9, run FROM streams "
    select += f"JOIN runs ON run = number WHERE {OF_EU} ORDER BY run, slot"
    of_runs = [list(of_run) for _, of_run in groupby(rows(lived.database, select), key=lambda row: row[2])]
    slots = [slot for of_run in of_runs for slot, *_ in of_run]
    assert len(slots) == len(set(slots)), "two probes in one second"
    killed = [kill for kill in lived.kills if kill.victim == "prober"]
    for before, after in zip(of_runs, [*of_runs[1:], []], strict=True):
        (first, started, _), (last, *_) = before[0], before[-1]
        missing = set(range(first, last)) - {slot for slot, *_ in before}
        assert missing <= {last - 1}, "at most one was still under way when the last one was stored"
        if after and after[0][0] > last + 1:
            found = [kill for kill in killed if started < kill.before and kill.after < after[0][1]]
            assert found, f"nobody was killed between {last} and {after[0][0]}"
            assert found[0].after - last < STORED
    left_out = rows(lived.database, f"SELECT detail FROM streams JOIN runs ON run = number WHERE {OF_EU} AND "
                    "streams.started_at IS NULL AND outcome = 'interrupted'")  # fmt: skip
    assert all(detail.startswith("not sent: ") for (detail,) in left_out)


def test_each_probe_that_was_judged_is_counted_once(lived: Lived) -> None:
    with closing(sqlite3.connect(lived.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ((cursor,),) = rows(lived.database, "SELECT value FROM monitor_state WHERE name = 'cursor'")
    ((judged,),) = rows(
        lived.database,
        f"SELECT count(*) FROM streams JOIN runs ON run = number WHERE {OF_EU} AND streams.id <= {cursor} "
        f"AND outcome != 'interrupted' AND NOT {LATE}",
    )
    ((counted,),) = rows(lived.database, "SELECT max(good + bad) FROM monitor_counts")
    assert counted == judged


def test_a_second_monitor_of_the_same_database_is_refused(lived: Lived) -> None:
    assert "m.db: another monitor is writing to it; end that one, or give another --db" in lived.second


def test_the_shipped_scenario_tells_cold_and_warm_connections_apart(lived: Lived) -> None:
    found = rows(
        lived.database,
        "SELECT json_extract(streams.labels, '$.connection'), connected_at IS NULL, (realtime_ns + due_at) / 1e9 "
        f"FROM streams JOIN runs ON run = number WHERE NOT {OF_EU} AND outcome = 'completed'",
    )
    # One visit in four asks a second question. On a busy machine there are few visits, and sometimes none of those.
    assert "cold" in {connection for connection, *_ in found}
    for connection, kept, due in found:
        # A question that meets the end of its kept connection is asked again over a new one.
        ended = any(since - 1 < due < until for since, until in lived.replaced)
        assert (connection, kept) in {("cold", 0), ("warm", 1)} or (connection == "warm" and ended)
