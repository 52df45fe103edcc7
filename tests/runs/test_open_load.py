"""Open load: streams are due on a schedule, whatever the server does, and nothing of it is lost in silence."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import fmean
from types import MappingProxyType
from typing import Any

import gevent
import jsonschema
import pytest
from gevent.event import Event

from streamgauge.harness.config.schema import Load
from streamgauge.harness.drive import schedule
from streamgauge.harness.drive.turnstile import Turnstile
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.validity import Validity
from tests.support.command import processes
from tests.support.record import MS, a_run, ttfts
from tests.support.reference import ReferenceServer, reference_server, wait_for

BIN = Path(sys.executable).parent
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/result.schema.json").read_text())
CONFIG = '[target]\nmax_tokens = 20\n[[sla]]\nrule = "max(ttft) < 20s"\n'
CROWD = """
from streamgauge.scenario import StreamUser, between, task

class Long(StreamUser):
    weight = 3
    wait_time = between(10, 20)
    prompts = "long"

    @task
    def ask(self):
        self.stream()

class Short(Long):
    weight = 1
    prompts = "short"
"""
REGULAR = """
class Regular(StreamUser):
    fixed_count = 1

    @task
    def ask(self):
        self.stream()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "10ms") as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    (tmp_path / "crowd.py").write_text(CROWD)
    return tmp_path


def started(folder: Path, *words: object) -> "subprocess.Popen[str]":
    """`streamgauge run …`, whose database is run.db unless the words say otherwise."""
    return subprocess.Popen(
        [BIN / "streamgauge", "run", *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = run.communicate(timeout=60)
    return run.returncode, " ".join(output.split()), errors


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:  # not there yet
        return []
    finally:
        connection.close()


def expected(load: Load, seed: int, number: int) -> list[int]:
    """When the first arrivals of a schedule are due, ns from its start."""
    found = schedule.find(load)
    assert found is not None
    return [round(at * 1e9) for at in islice(found.times(Random(f"{seed}/arrivals")), number)]


# the schedule


def test_constant_arrivals_are_equally_far_apart() -> None:
    assert expected(Load(arrivals="constant", rate=20), 1, 4) == [0, 50_000_000, 100_000_000, 150_000_000]


def test_poisson_arrivals_come_at_the_rate_and_independently_of_each_other() -> None:
    due = expected(Load(arrivals="poisson", rate=20), 1, 20_000)
    gaps = [(later - one) / 1e9 for one, later in pairwise(due)]
    assert fmean(gaps) == pytest.approx(0.05, rel=0.03)  # four standard errors of 20,000 gaps
    assert fmean(gap > 0.05 for gap in gaps) == pytest.approx(0.3679, abs=0.014)  # 1 / e, and four standard errors
    assert fmean(later > 0.05 for gap, later in pairwise(gaps) if gap > 0.05) == pytest.approx(0.3679, abs=0.023)


def test_a_schedule_is_its_seed_s() -> None:
    load = Load(arrivals="poisson", rate=20)
    assert expected(load, 1, 100) == expected(load, 1, 100) != expected(load, 2, 100)


def test_a_file_says_when_and_its_content_tells_it_apart(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("# from the log of Monday\n0.25\n\n  1\r\n1.0\n2.5e0\n")
    load = Load(arrivals=f"file:{path}")
    assert expected(load, 1, 10) == [250_000_000, 1_000_000_000, 1_000_000_000, 2_500_000_000]
    before = schedule.find(load)
    path.write_text("0.25\n")
    after = schedule.find(load)
    assert before is not None
    assert after is not None
    assert before.name != after.name


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(arrivals="uniform", rate=3), "load.arrivals: no schedule called 'uniform'; there are constant, poisson"),
        (Load(arrivals="poisson"), "load.arrivals: 'poisson' needs load.rate"),
        (Load(arrivals="poisson", rate=-3), "load.rate: -3 is not a number of streams per second"),
        (Load(arrivals="constant", rate=0), "load.rate: 0 is not a number of streams per second"),
        (Load(arrivals="constant", rate=float("inf")), "load.rate: inf is not a number"),
        (Load(arrivals="constant", rate=float("nan")), "load.rate: nan is not a number"),
        (Load(rate=3), 'load.rate: 3 goes with load.arrivals = "constant" or "poisson"'),
        (Load(arrivals="file:times.txt", rate=3), "load.rate: the file says when"),
        (Load(arrivals="file:nowhere.txt"), "nowhere.txt: cannot be read: No such file"),
        (Load(arrivals="file:."), "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_load_is_told_in_one_line(load: Load, said: str) -> None:
    with pytest.raises(ScenarioError) as fault:
        schedule.find(load)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1\nsoon\n", "times.txt:2: 'soon' is not a time"),
        (b"# what follows is broken\n\n-1\n", "times.txt:3: -1 is not a time of 0 or later"),
        (b"nan\n", "times.txt:1: nan is not a time"),
        (b"1\n2\n1.5\n", "times.txt:3: 1.5 is earlier than the time before it, 2"),
        (b"\xff\xfe\x00", "times.txt:1: "),
        (b"# nothing\n", "times.txt: holds no times"),
    ],
)
def test_a_broken_file_is_told_with_the_line(text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_bytes(text)
    with pytest.raises(ScenarioError) as fault:
        schedule.find(Load(arrivals=f"file:{path}"))
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


# who serves it


class Doorway:
    """A turnstile and those who come to it: `got` says who had an arrival that was due when."""

    def __init__(
        self,
        moments: Sequence[int],
        people: Sequence[str],
        weights: Mapping[str, float] = MappingProxyType({"A": 1}),
        most: int = 10_000,
    ) -> None:
        self.got: list[tuple[str, int]] = []
        self.leave = Event()  # those who are busy are so until then
        self.turnstile = Turnstile(
            ((number, number) for number in moments), 1, weights, most=lambda: most, fetch=self.come
        )
        for place, kind in enumerate(people):
            self.come(kind, f"{kind}{place}")
        gevent.sleep(0)
        self.turnstile.open(0)
        gevent.idle()

    def come(self, kind: str, name: str = "") -> None:
        gevent.spawn(self.serve, kind, name or f"another {kind}")

    def serve(self, kind: str, name: str) -> None:
        while True:
            with self.turnstile.arrival(kind) as arrival:
                self.got.append((name, arrival.due_at))
                self.leave.wait()


def test_an_arrival_goes_to_who_became_free_last() -> None:
    door = Doorway([0], ["A", "A"])
    assert door.got == [("A1", 0)]
    assert (door.turnstile.arrivals, door.turnstile.dropped) == (1, 0)


def test_when_as_many_as_may_be_are_busy_arrivals_are_dropped_and_counted() -> None:
    door = Doorway([0, 1, 2], ["A"] * 9, most=2)
    assert [due for _, due in door.got] == [0, 1]
    assert (door.turnstile.arrivals, door.turnstile.dropped) == (3, 1)


def test_somebody_of_the_class_is_fetched_where_nobody_of_it_is_free() -> None:
    door = Doorway(range(40), ["A"] * 40, {"A": 3, "B": 1})
    assert sorted(due for _, due in door.got) == list(range(40))
    assert "another B" in {name for name, _ in door.got}
    assert door.turnstile.dropped == 0


def test_classes_get_arrivals_by_weight_and_which_one_hangs_on_the_number_alone() -> None:
    numbers = range(2_000)
    weights = {"A": 3, "B": 1}
    of_a = {due for name, due in Doorway(numbers, ["A"] * 2_000, weights).got if "A" in name}
    assert len(of_a) / 2_000 == pytest.approx(0.75, abs=0.04)  # four standard errors
    of_a_among_odd = {due for name, due in Doorway(numbers[1::2], [], weights).got if "A" in name}
    assert of_a_among_odd == {due for due in of_a if due % 2}


# whole runs


def test_a_schedule_is_divided_among_processes_and_what_is_asked_is_the_same(
    server: ReferenceServer, folder: Path
) -> None:
    load = ("crowd.py", "--host", server.url, "--arrivals", "poisson", "--rate", 30, "--run-time", "4s", "--seed", 5)
    whole = started(folder, *load, "--db", "one.db")
    divided = started(folder, *load, "--db", "two.db", "--", *processes(2))
    for run in (whole, divided):
        code, output, errors = ended(run)
        assert code == 0, (output, errors)
    asked = []
    for name in ("one.db", "two.db"):
        found = rows(folder / name, "SELECT due_at, worker, user, input_tokens FROM streams ORDER BY due_at")
        assert len(found) > 60, "three seconds of 30 a second, less than four standard deviations"
        assert rows(folder / name, "SELECT sum(value) FROM samples WHERE name = 'dropped_arrivals'") == [(0,)]
        times = expected(Load(arrivals="poisson", rate=30), 5, len(found))
        assert [due - found[0][0] for due, *_ in found] == [at - times[0] for at in times], "each of them, and once"
        workers = [worker for _, worker, *_ in found]
        processes_ = len(set(workers))
        assert all(len(set(workers[first::processes_])) == 1 for first in range(processes_)), "every so-manieth"
        asked.append([(user, tokens) for *_, user, tokens in found if tokens is not None])
    both = min(map(len, asked)) - 20  # the last ones were cut off by the run's end
    assert {user for user, _ in asked[0]} == {"Long", "Short"}
    assert asked[0][:both] == asked[1][:both]


def test_a_server_that_stops_does_not_stop_those_who_come(folder: Path) -> None:
    database = folder / "run.db"
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "10ms") as frail:
        run = started(
            folder, "crowd.py", "--host", frail.url, "--arrivals", "constant", "--rate", 20, "--run-time", "8s",
            "--db", database, "--report", "run.html",
        )  # fmt: skip
        due = "SELECT coalesce(max(value), 0) FROM samples WHERE name = 'arrivals'"
        wait_for(lambda: bool(rows(database, "SELECT 1 FROM streams WHERE outcome = 'completed'")))
        os.kill(frail.process.pid, signal.SIGSTOP)
        try:
            ((before,),) = rows(database, due)
            wait_for(lambda: rows(database, due)[0][0] > before + 45)  # a closed load would be silent now
        finally:
            os.kill(frail.process.pid, signal.SIGCONT)
        code, output, errors = ended(run)
    assert code == 0, errors
    first, came = zip(
        *rows(database, "SELECT due_at, first_content_at FROM streams WHERE first_content_at IS NOT NULL ORDER BY 1"),
        strict=True,
    )
    assert {later - one for one, later in pairwise(first)} == {50_000_000}, "none is missing, and none was put off"
    slow = [(since, at) for since, at in zip(first, came, strict=True) if at - since > 500 * MS]
    assert len(slow) > 5, "those who came while it stood still"
    assert min(at for _, at in slow) > max(since for since, _ in slow), "all of them waited until it went on"
    assert "late_rate" in output
    assert "drop rate" not in output
    assert "<html" in (folder / "run.html").read_text()


def test_a_run_by_a_file_ends_with_its_last_answer_and_leaves_the_regulars_alone(
    server: ReferenceServer, folder: Path
) -> None:
    (folder / "times.txt").write_text("0\n0.25\n0.25\n1.5\n")
    (folder / "streamgauge.toml").write_text(f'{CONFIG}[load]\narrivals = "file:times.txt"\n')
    (folder / "crowd.py").write_text(CROWD + REGULAR)
    code, _, errors = ended(started(folder, "crowd.py", "--host", server.url, "--db", "run.db"))
    assert code == 0, errors
    found = rows(folder / "run.db", "SELECT due_at, outcome FROM streams WHERE user != 'Regular' ORDER BY due_at")
    assert [due - found[0][0] for due, _ in found] == [0, 250_000_000, 250_000_000, 1_500_000_000]
    assert {outcome for _, outcome in found} == {"completed"}
    (regular,) = rows(folder / "run.db", "SELECT count(*) FROM streams WHERE user = 'Regular'")[0]
    assert regular > 4, "asks on as soon as it has an answer"
    (fingerprint,) = rows(folder / "run.db", "SELECT fingerprint FROM runs")[0]
    assert json.loads(fingerprint)["load"]["arrivals"].startswith("times.txt#")


def test_arrivals_that_nobody_was_free_for_are_in_the_result_and_spoil_it(
    server: ReferenceServer, folder: Path
) -> None:
    run = started(
        folder, "crowd.py", "--host", server.url, "--arrivals", "constant", "--rate", 40, "--users", 4,
        "--run-time", "3s", "--db", "run.db", "--json", "run.json",
    )  # fmt: skip
    code, output, errors = ended(run)
    assert code == 3, errors
    result = json.loads((folder / "run.json").read_text())
    jsonschema.validate(result, SCHEMA)
    (due,) = rows(folder / "run.db", "SELECT max(value) FROM samples WHERE name = 'arrivals'")[0]
    (begun,) = rows(folder / "run.db", "SELECT count(*) FROM streams")[0]
    assert result["metrics"]["drop_rate"] == {"unit": "ratio", "value": (due - begun) / due, "n": due}
    assert result["verdict"] == "invalid"
    (reason,) = result["validity"]["reasons"]
    assert reason.startswith(f"{due - begun:.0f} of {due:.0f} arrivals (")
    assert reason in output


@pytest.mark.parametrize(
    ("dropped", "validity"),
    [(0, Validity.VALID), (1, Validity.DEGRADED), (5, Validity.DEGRADED), (6, Validity.INVALID)],
)
def test_a_run_that_dropped_arrivals_is_degraded_and_with_more_than_5_percent_invalid(
    dropped: int, validity: Validity, tmp_path: Path
) -> None:
    with Store.create(tmp_path / "run.db") as store:
        store.start_run(a_run())
        arrived = [("worker-0", 40, 0), ("worker-1", 30, 0), ("worker-0", 60, dropped), ("worker-1", 40, 0)]
        for second, (worker, arrivals, lost) in enumerate(arrived):
            at = second * 1_000 * MS
            store.append("run-1", [], [(worker, at, "arrivals", arrivals), (worker, at, "dropped_arrivals", lost)])
        store.append("run-1", ttfts([200] * 99, send_lag=MS) + ttfts([200], send_lag=11 * MS))
        store.finish_run("run-1", ended_ns=10_000 * MS, status="finished")
        judged = judge(store)
    assert judged.validity is validity
    assert judged.rates["drop_rate"].value == dropped / 100
    assert judged.rates["late_rate"].value == 0.01
    assert any(reason.startswith(f"{dropped} of 100 arrivals") for reason in judged.reasons) is (dropped > 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crowd.py", "--arrivals", "poisson", "--rate", "-3"], "load.rate: -3 is not a number of streams per second"),
        (["steps", "--arrivals", "poisson", "--rate", "3"], "the scenario's shape, Staircase, how many people ask"),
    ],
)
def test_a_load_that_cannot_be_is_one_line_and_exit_code_2(words: list[str], said: str, folder: Path) -> None:
    code, output, errors = ended(started(folder, *words, "--host", "http://127.0.0.1:9"))
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1, errors
    assert said in errors
