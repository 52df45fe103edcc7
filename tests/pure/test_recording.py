"""The record of a run while it is being made, also when the database takes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Batch
from streamgauge.harness.run.recording import Recording
from tests.support.record import a_run, new_store, observation


@pytest.fixture
def given_up() -> list[str]:
    return []


@pytest.fixture
def recording(tmp_path: Path, given_up: list[str]) -> Iterator[Recording]:
    with new_store(tmp_path / "run.db") as store:
        store.start_run(a_run())
        yield Recording(store, a_run(), RunClock(0, 0), given_up.append)


def a_batch(*vitals: VitalSample, streams: int = 1) -> Batch:
    return Batch("run-1", "worker-0", 1, [observation(sequence=place) for place in range(streams)], list(vitals))


def test_a_batch_is_in_the_database_and_in_its_process_s_summary(recording: Recording) -> None:
    assert recording.keep(a_batch(VitalSample(5, Vital.CPU_PERCENT, 40.0), streams=3))
    assert recording.store.vital("run-1", Vital.CPU_PERCENT).value.tolist() == [40.0]
    recording.finish("finished", 9, {})
    (process,) = recording.store.run("run-1").instrument["workers"].values()
    assert process == {"streams": 3, "cpu_max": 40.0, "clock_drift_ns": 0}


def test_a_run_is_given_up_when_the_database_refuses_20_batches_in_a_row(
    recording: Recording, given_up: list[str]
) -> None:
    recording.keep(a_batch())
    recording.store.close()  # as a full disk: it takes nothing any more
    for _ in range(19):
        assert not recording.keep(a_batch())
    assert given_up == []
    assert not recording.keep(a_batch())
    assert len(given_up) == 1


def test_what_the_server_said_while_the_file_was_locked_is_stored_later(tmp_path: Path) -> None:
    with new_store(tmp_path / "run.db") as store:
        recording = Recording(store, a_run(), RunClock(0, 0), lambda _: None)
        recording.keep_server_vitals([VitalSample(1, Vital.SERVER_ACTIVE, 3.0)])  # the run is not in the file yet
        store.start_run(a_run())
        recording.keep_server_vitals([VitalSample(2, Vital.SERVER_ACTIVE, 4.0)])
        assert store.vital("run-1", Vital.SERVER_ACTIVE).value.tolist() == [3.0, 4.0]


def test_a_process_that_held_streams_back_is_noted(recording: Recording) -> None:
    recording.keep(a_batch(VitalSample(1, Vital.HELD_STREAMS, 2.0), VitalSample(2, Vital.HELD_STREAMS, 1.0)))
    (note,) = recording.held_back()
    assert note.startswith("worker-0 held new streams back for 2 s")
