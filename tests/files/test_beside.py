"""A second process reads the streams of a large run: the same batches, and its faults are told."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import numpy as np
import psutil
import pytest

from streamgauge.harness.errors import DamagedRow, StoreError
from streamgauge.harness.judge import second_process
from streamgauge.harness.judge.second_process import started
from streamgauge.harness.judge.store import Store, Streams, beside, decoded_ahead
from streamgauge.harness.judge.store.beside import measured_streams, streams_beside
from streamgauge.harness.record import arrivals
from tests.support import any_streams
from tests.support.command import invoke

_BATCH, _COUNT = 20, 130


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beside") / "any.db"
    any_streams.store(path, Random(1), _COUNT)
    return path


def test_the_second_process_gives_the_same_batches(path: Path) -> None:
    with Store.open(path) as store:
        alone = list(store.streams("any", batch=_BATCH))
        helped = _all_beside(store, _BATCH)
    assert len(alone) > 4
    assert [_values(streams) for streams in helped] == [_values(streams) for streams in alone]


def _values(streams: Streams) -> tuple[object, ...]:
    numbers = {name: column.tobytes() for name, column in streams.number.items()}
    text = {name: [*column] for name, column in streams.text.items()}
    return streams.id.tolist(), text, numbers, streams.blobs, streams.source


def test_a_run_of_one_batch_is_read_to_its_end(path: Path) -> None:
    with Store.open(path) as store:
        assert [len(streams) for streams in _all_beside(store)] == [store.count("any")]


def test_a_row_that_the_second_process_finds_damaged_is_told_as_ever(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(damaged)) as connection:
        connection.execute("UPDATE streams SET arrivals = x'09' WHERE id = ?", [_COUNT - 5])
        connection.commit()
    with Store.open(damaged) as store:
        told = [_fault_of(lambda: list(store.streams("any", batch=_BATCH)))]
        told += [_fault_of(lambda: _decoded_beside(store, _BATCH))]
    assert told[0] == told[1]
    assert f"row {_COUNT - 5}, column arrivals" in told[0]


def test_more_events_than_can_be_decoded_at_once_are_decoded_in_parts(path: Path, tmp_path: Path) -> None:
    zeros = np.zeros(arrivals.MOST_EVENTS - 1, np.int64)
    largest = arrivals.pack(arrivals.Columns(zeros, zeros.astype(np.uint8), zeros, zeros, zeros, zeros - 1))
    heavy = tmp_path / "heavy.db"
    heavy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(heavy)) as connection:
        connection.execute("UPDATE streams SET arrivals = ? WHERE id BETWEEN 5 AND 20 OR id > 110", [largest])
        connection.commit()
    with Store.open(heavy) as store:
        expected = [each for part in store.streams("any") for each in _ids_and_events(part)]
        parts = [_ids_and_events(part) for part in _decoded_beside(store, 50)]
    assert [len(part) for part in parts] == [19, 31, 50, 25, 5]
    assert [each for part in parts for each in part] == expected


def _ids_and_events(streams: Streams) -> list[tuple[int, int]]:
    return list(zip(streams.id.tolist(), np.diff(streams.events.starts).tolist(), strict=True))


def _fault_of(read: Callable[[], object]) -> str:
    with pytest.raises(DamagedRow) as raised:
        read()
    return str(raised.value)


def test_a_second_process_that_is_killed_is_an_error(path: Path) -> None:
    with Store.open(path) as store, started(path) as store.second_process:
        (reader,) = _readers()
        reader.kill()  # before it is told what to read
        reader.wait()
        with pytest.raises(StoreError, match="the process that reads it was killed"):
            _all_beside(store, _BATCH)


def _all_beside(store: Store, *batch: int) -> list[Streams]:
    with streams_beside(store, "any", *batch) as batches:
        return list(batches)


def _decoded_beside(store: Store, batch: int) -> list[Streams]:
    with streams_beside(store, "any", batch) as batches:
        return list(decoded_ahead(batches))


def test_what_is_done_meanwhile_is_done_once_and_before_the_first_batch(path: Path) -> None:
    done: list[str] = []
    with Store.open(path) as store:
        for _ in decoded_ahead(store.streams("any", batch=_BATCH), lambda: done.append("meanwhile")):
            done.append("batch")
    assert done[0] == "meanwhile"
    assert done.count("meanwhile") == 1 < done.count("batch")


def _readers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # another test's, which has ended
            found += [child] if "streamgauge.harness.judge.store" in child.cmdline() else []
    return found


def test_a_process_that_was_started_early_reads_one_run(path: Path) -> None:
    with Store.open(path) as store, started(path) as store.second_process:
        assert len(_readers()) == 1
        twice = [_all_beside(store, _BATCH), _all_beside(store, _BATCH)]
        assert vars(store)["second_process"] is None
        alone = [_values(streams) for streams in store.streams("any", batch=_BATCH)]
    assert [[_values(streams) for streams in batches] for batches in twice] == [alone, alone]


def test_a_reader_that_gives_up_leaves_no_process_behind(path: Path) -> None:
    with Store.open(path) as store, streams_beside(store, "any", _BATCH) as batches:
        next(batches)
    assert _readers() == []


@pytest.mark.parametrize(("count", "cores"), [(beside.FEWEST_BESIDE - 1, {0, 1}), (beside.FEWEST_BESIDE, {0})])
def test_a_small_run_and_a_single_core_start_no_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, count: int, cores: set[int]
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: cores)
    with Store.open(path) as store, measured_streams(store, "any", count) as batches:
        next(batches)
        assert _readers() == []


@pytest.mark.parametrize("command", [["judge"], ["report", "-o", "page.html"]])
def test_a_command_starts_its_second_process_early_for_a_large_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """The file is large and its run small: so the process is started, not used, and ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    small = invoke(*command, str(path))
    monkeypatch.setattr(second_process, "LARGE", 1)
    begun: list[psutil.Process] = []
    opened = Store.open

    def look_and_open(db: str) -> Store:
        begun.extend(_readers())
        return opened(db)

    monkeypatch.setattr(Store, "open", look_and_open)
    large = invoke(*command, str(path))
    assert len(begun) == 1
    assert not begun[0].is_running()
    assert (large.exit_code, large.output) == (small.exit_code, small.output)


def test_a_redacted_report_starts_no_process(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(second_process, "LARGE", 1)
    monkeypatch.setattr(second_process, "started", lambda _: pytest.fail("another process has no redacted views"))
    assert invoke("report", "--redact", "-o", str(tmp_path / "page.html"), str(path)).exit_code == 0
