"""The record of a run while it is being made, also when the database takes nothing."""

import contextlib
import gc
import sqlite3
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Batch
from streamgauge.harness.run.recording import Recording
from streamgauge.harness.run.writer import Patience
from tests.support.command import PATIENCE
from tests.support.record import a_run, new_store, observation

MB = 1_000_000


@pytest.fixture
def given_up() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


@pytest.fixture
def recording(path: Path, given_up: list[str]) -> Recording:
    """It waits for a slow disk for as long as tests do."""
    return begun(path, given_up, PATIENCE)


def begun(path: Path, given_up: list[str], seconds: float) -> Recording:
    store = new_store(path)
    store.start_run(a_run())
    return Recording(store, a_run(), RunClock(0, 0), given_up.append, Patience(during=seconds, after=seconds))


def a_batch(*vitals: VitalSample, streams: int = 1, **fields: Any) -> Batch:
    seen = [observation(sequence=place, **fields) for place in range(streams)]
    return Batch("run-1", "worker-0", 1, seen, list(vitals))


def finished(recording: Recording) -> Run:
    """The run as whoever judges it at once sees it."""
    recording.finish("finished", 9, {})
    with recording.ended() as store:
        return store.run("run-1")


def test_a_batch_is_in_the_database_and_in_its_process_s_summary(recording: Recording, path: Path) -> None:
    stored: list[str] = []
    recording.keep(a_batch(VitalSample(5, Vital.CPU_PERCENT, 40.0), streams=3), lambda: stored.append("yes"))
    assert stored == [], "the loop does not wait for the database"
    (process,) = finished(recording).instrument["workers"].values()
    assert stored == ["yes"]
    assert process == {"streams": 3, "cpu_max": 40.0, "clock_drift_ns": 0}
    with Store.open(path) as store:
        assert store.count("run-1") == store.run().instrument["streams"] == 3
        assert store.vital("run-1", Vital.CPU_PERCENT).value.tolist() == [40.0]


def test_a_run_is_given_up_when_the_database_takes_nothing_for_too_long(
    path: Path, given_up: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    recording = begun(path, given_up, 0.3)
    path.unlink()
    while not given_up:
        recording.keep(a_batch(VitalSample(5, Vital.USERS, 1.0)))
        gevent.sleep(0.05)
    assert given_up == [f"{path}: was deleted or replaced during the run, and what it held is lost"]
    run = finished(recording)
    streams = run.instrument["streams"]
    assert run.status == "finished", "it can be judged, although the file is gone"
    assert run.instrument["unsaved"] == f"{streams} of {streams} streams could not be stored: {given_up[0]}"
    assert len(capfd.readouterr().err.splitlines()) == 1, "one line, however often it is tried"


def test_a_run_is_given_up_although_nothing_more_is_to_be_stored(path: Path, given_up: list[str]) -> None:
    recording = begun(path, given_up, 0.3)
    path.unlink()
    recording.keep(a_batch())
    with gevent.Timeout(PATIENCE):
        while not given_up:
            gevent.sleep(0.05)
    assert given_up == [f"{path}: was deleted or replaced during the run, and what it held is lost"]
    finished(recording)


def test_a_run_that_ends_anyway_is_not_given_up(path: Path, given_up: list[str]) -> None:
    recording = begun(path, given_up, 0.3)
    path.unlink()
    recording.keep(a_batch())
    recording.never_give_up()
    recording.keep(a_batch())
    run = finished(recording)  # it waits until the patience is over
    assert given_up == []
    assert run.instrument["unsaved"].startswith("2 of 2 streams could not be stored")


def test_a_run_that_could_not_begin_leaves_nothing_that_goes_on(path: Path, given_up: list[str]) -> None:
    recording = begun(path, given_up, PATIENCE)
    gevent.sleep(0)  # whatever it has started begins
    left = weakref.ref(recording)
    store = weakref.ref(recording._store)
    del recording
    gc.collect()
    assert left() is None
    assert store() is None, "a greenlet that goes on holds it"


def test_a_run_in_which_nothing_was_to_be_stored_ends_at_once(recording: Recording) -> None:
    assert finished(recording).instrument["streams"] == 0


def test_rows_wait_for_a_lock_of_another_process_and_are_stored_in_order(recording: Recording, path: Path) -> None:
    with another_writer(path):
        for place in range(5):
            recording.keep(a_batch(labels={"place": str(place)}))
        began = time.monotonic()
        gevent.sleep(0.2)
        assert time.monotonic() - began < 9, "the loop goes on, and does not wait for the lock as SQLite does: for 10 s"
    run = finished(recording)
    assert "unsaved" not in run.instrument
    with Store.open(path) as store:
        (streams,) = store.streams("run-1")
    assert [*streams.text["labels"]] == [f'{{"place": "{place}"}}' for place in range(5)]


def test_a_stream_that_sqlite_does_not_take_is_left_out_and_counted(recording: Recording, path: Path) -> None:
    recording.keep(a_batch(streams=2))
    recording.keep(a_batch(VitalSample(5, Vital.USERS, 1.0), streams=2, output_tokens=1 << 70))
    recording.keep(a_batch(streams=1))
    run = finished(recording)
    assert run.instrument["unsaved"].startswith("2 of 5 streams could not be stored")
    with Store.open(path) as store:
        assert (store.count("run-1"), len(store.vital("run-1", Vital.USERS).at)) == (3, 1)


def test_no_new_streams_should_begin_while_too_much_waits(recording: Recording, path: Path) -> None:
    released: list[str] = []
    with another_writer(path):
        while not recording.full:
            recording.keep(a_batch(arrivals=bytes(20 * MB)), lambda: released.append("" if recording.full else "room"))
    finished(recording)
    assert released[-1] == "room"


def test_what_the_server_said_is_stored(recording: Recording, path: Path) -> None:
    recording.keep_server_vitals([VitalSample(1, Vital.SERVER_ACTIVE, 3.0)])
    finished(recording)
    with Store.open(path) as store:
        assert store.vital("run-1", Vital.SERVER_ACTIVE).value.tolist() == [3.0]


def test_a_process_that_held_streams_back_is_noted(recording: Recording) -> None:
    recording.keep(a_batch(VitalSample(1, Vital.HELD_STREAMS, 2.0), VitalSample(2, Vital.HELD_STREAMS, 1.0)))
    (note,) = finished(recording).notes
    assert note.startswith("worker-0 held new streams back for 2 s")


@contextlib.contextmanager
def another_writer(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()
