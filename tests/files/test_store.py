"""The database: rows come back as they were stored, and a fault of a file is an error of one line."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
from sqlite_utils import Database

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Store, connection
from streamgauge.harness.judge.store.connection import wait_for_locks
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital
from tests.support.record import MS, a_run, database, observation

FULL = observation(
    [("ping", 50), ("thinking", 100), ("text", 120)],
    worker="worker-2",
    sequence=7,
    labels={"build": "a'b\"c", "größe": "…"},
    resolved_at=1,
    connected_at=2,
    secured_at=3,
    headers_at=90 * MS,
    detail="an [bold]odd[/bold] detail\n",
    http_status=200,
    stop_reason="end_turn",
    oddities={"a token count that is not a whole number": 2},
    body_bytes=4_000,
    input_tokens=12,
    output_tokens=3,
    cache_read_tokens=0,
    cache_write_tokens=8,
    request_id="req_1",
    address="2001:db8::7",
    replica="pod-7",
    retry_after=5_000 * MS,
    after_refusal=400 * MS,
    resumed_from="41",
    resume_gap=850 * MS,
    resume_lost=0,
    resume_duplicated=2,
    send_lag=1_000,
    reads=5,
    coalesced_reads=1,
    saturated_reads=1,
    unstamped_reads=2,
    read_lag_mean=10_000,
    read_lag_max=90_000,
)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = a_run(
        config={"path": "/v1/messages"},
        rules=[Sla(rule="p95(ttft) < 4s", where=Where(network="3g", label={"build": "a"}))],
        fingerprint={"scenario": "chat"},
        labels={"branch": "main"},
        instrument={"stamps": "kernel"},
        notes=["a note"],
    )
    with Store.create(tmp_path / "one.db") as store:
        store.start_run(run)
        assert store.run() == run
        store.finish_run(run.id, ended_ns=5, status="interrupted", instrument={"clock_drift_ns": 3}, notes=["another"])
        ended = store.run()
    assert (ended.ended_ns, ended.status, ended.notes) == (5, "interrupted", ["a note", "another"])
    assert ended.instrument == {"stamps": "kernel", "clock_drift_ns": 3}
    assert ended.rules == run.rules


def test_every_field_of_an_observation_has_its_column(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [FULL])
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    (row,) = connection.execute("SELECT * FROM streams").fetchall()
    connection.close()
    assert set(row.keys()) == {"id", "run", *StreamObservation.__struct_fields__}
    for name in StreamObservation.__struct_fields__:
        if name not in {"labels", "oddities"}:  # as JSON
            assert row[name] == getattr(FULL, name)


def test_streams_come_back_as_columns_and_what_was_not_observed_is_nan(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", [FULL, observation([], outcome=Outcome.REFUSED)])) as store:
        (streams,) = store.streams("run-1")
    assert [*streams.text["outcome"]] == ["completed", "refused"]
    assert [*streams.text["labels"]] == ['{"build": "a\'b\\"c", "gr\\u00f6\\u00dfe": "\\u2026"}', "{}"]
    assert streams.number["output_tokens"][0] == 3
    assert np.isnan(streams.number["first_content_at"]).tolist() == [False, True]
    assert streams.events.at.tolist() == [100_000, 120_000], "only events with content"
    assert streams.events.starts.tolist() == [0, 2, 2]


@pytest.mark.parametrize(("ids", "found"), [([1, 2], "ab"), ([2, 1], "ba"), ([1, 9, 2], "a b"), ([9], " "), ([], "")])
def test_texts_come_in_the_order_in_which_streams_are_asked_for(ids: list[int], found: str, tmp_path: Path) -> None:
    stored = [observation([], replica=name) for name in "ab"]
    with Store.open(database(tmp_path / "two.db", stored)) as store:
        texts = store.texts(ids)
    assert texts["replica"] == [name.strip() for name in found], "and are empty for a stream that is not there"
    assert texts["request_id"] == [""] * len(ids)


def test_a_selection_keeps_all_columns_equally_long(tmp_path: Path) -> None:
    mixed = [observation(user=f"User{i % 3}", output_tokens=i, labels={"n": str(i % 2)}) for i in range(100)]
    with Store.open(database(tmp_path / "one.db", mixed)) as store:
        found = list(store.streams("run-1", Where(user="User1", label={"n": "0"}), batch=10))
    tokens = np.concatenate([streams.number["output_tokens"] for streams in found])
    assert tokens.tolist() == [i for i in range(100) if i % 3 == 1 and i % 2 == 0]
    assert all(len(streams) == len(streams.events.starts) - 1 for streams in found)


def test_batches_are_bounded_and_complete(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", [observation(sequence=i) for i in range(23)])) as store:
        assert [len(streams) for streams in store.streams("run-1", batch=10)] == [10, 10, 3]


def test_runs_in_one_file_are_kept_apart(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [observation()] * 3)
    database(path, [observation()] * 5, id="run-2")
    with Store.open(path) as store:
        assert [run.id for run in store.runs()] == ["run-1", "run-2"]
        assert store.run().id == "run-2"
        assert sum(map(len, store.streams("run-1"))) == 3
        assert sum(map(len, store.streams("run-2"))) == 5


def test_samples_of_a_vital_come_back_in_order_of_time(tmp_path: Path) -> None:
    with Store.create(tmp_path / "one.db") as store:
        store.start_run(a_run())
        store.append("run-1", [], [("w1", 20, "users", 2), ("w1", 10, "users", 1.5), ("w1", 10, "cpu", 0.9)])
        found = store.vital("run-1", Vital.USERS)
        assert (found.worker, found.at.tolist(), found.value.tolist()) == (["w1", "w1"], [10, 20], [1.5, 2])
        assert len(store.vital("run-1", Vital.GC_PAUSE).at) == 0


def test_the_view_has_a_readable_row_for_each_stream(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [FULL, observation([], outcome=Outcome.REFUSED, http_status=529)])
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    good, refused = connection.execute("SELECT * FROM stream_metrics").fetchall()
    connection.close()
    assert (good["run_id"], good["ttft_ms"], good["ttft_text_ms"], good["e2e_ms"]) == ("run-1", 100, 120, 120)
    assert (good["tpot_ms"], good["chunks"], good["output_tokens"]) == (10, 2, 3)
    assert (good["resumed_from"], good["resume_gap_ms"], good["resume_duplicated"]) == ("41", 850, 2)
    assert (refused["outcome"], refused["http_status"], refused["ttft_ms"]) == ("refused", 529, None)


def test_a_closed_database_is_a_single_file(tmp_path: Path) -> None:
    database(tmp_path / "one.db", [observation()])
    assert [path.name for path in tmp_path.iterdir()] == ["one.db"]


def test_readers_see_rows_stored_after_they_opened_the_file(tmp_path: Path) -> None:
    with Store.create(tmp_path / "one.db") as writer:
        writer.start_run(a_run())
        writer.append("run-1", [observation()] * 10)
        with Store.open(tmp_path / "one.db") as reader:
            reading = reader.streams("run-1", batch=4)
            assert len(next(reading)) == 4
            writer.append("run-1", [observation()] * 3)
            assert sum(map(len, reading)) == 9
            assert reader.run().status == "running"


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    Store.create(tmp_path / "one.db").close()
    together = Barrier(2, timeout=30)

    def write(name: str) -> None:
        together.wait()
        with Store.create(tmp_path / "one.db") as store:
            store.start_run(a_run(id=name))
            for _ in range(20):
                store.append(name, [observation()] * 50)

    threads = [Thread(target=write, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(tmp_path / "one.db") as store:
        assert [sum(map(len, store.streams(name))) for name in ("a", "b")] == [1_000, 1_000]


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store.create(tmp_path / "one.db") as store:
        store.start_run(a_run())
        with pytest.raises(StoreError):
            store.append("run-1", [observation(), observation(outcome=Outcome.RESET, detail=b"bytes")])
        assert list(store.streams("run-1")) == []
        with pytest.raises(StoreError):
            store.append("run-1", [observation()], [("w1", 1, "users", b"bytes")])  # type: ignore[list-item]
        assert store.count("run-1") == 0, "the streams of a batch whose vitals cannot be stored are not stored either"


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    for name in ("20260101-a", "20260102-b", "20260102-bc"):
        database(path, [], id=name)
    with Store.open(path) as store:
        assert store.run("20260101").id == "20260101-a"
        assert store.run("20260102-b").id == "20260102-b"
        with pytest.raises(StoreError, match="could be any of 20260102-b, 20260102-bc"):
            store.run("20260102")
        with pytest.raises(StoreError, match="no run called 'x'; there are 20260101-a, 20260102-b, 20260102-bc"):
            store.run("x")
        with pytest.raises(StoreError, match=r"there are .*; did you mean '20260102-b'"):
            store.run("20260201-b")


def test_a_run_s_id_can_be_used_once(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [])
    with Store.open(path) as store, pytest.raises(StoreError, match="a run called 'run-1' already"):
        store.start_run(a_run())


def test_streams_cannot_be_stored_without_their_run(tmp_path: Path) -> None:
    with Store.create(tmp_path / "one.db") as store, pytest.raises(StoreError, match="no run called 'run-1'"):
        store.append("run-1", [observation()])


def _foreign(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such database"):
        Store.open(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 30)
    _foreign(tmp_path / "theirs.db", "CREATE TABLE runs (id)")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for entrance in (Store.open, Store.create):
        with pytest.raises(StoreError, match="not an SQLite file"):
            entrance(tmp_path / "notes.txt")
        with pytest.raises(StoreError, match="not a streamgauge database"):
            entrance(tmp_path / "theirs.db")
        with pytest.raises(StoreError, match="cannot be opened"):
            entrance(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_database_without_a_run_says_so(tmp_path: Path) -> None:
    Store.create(tmp_path / "one.db").close()
    with Store.open(tmp_path / "one.db") as store, pytest.raises(StoreError, match="holds no run yet"):
        store.run()


def test_a_database_whose_maker_was_killed_at_any_moment_holds_no_run_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, connect = tmp_path / "made", connection.connect
    making.mkdir()
    moments: Counter[tuple[tuple[str, bytes], ...]] = Counter()  # the files as each statement found them

    def watched(path: Path, mode: str) -> Database:
        found = connect(path, mode)
        found.conn.set_trace_callback(lambda _: moments.update([tuple(files(making))]))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(connection, "connect", watched)
        Store.create(making / "one.db").close()
    assert moments.total() > 20
    assert len(moments) > 3  # what differs is tried, once
    for number, left in enumerate(moments):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in left:
            (folder / name).write_bytes(content)
        with pytest.raises(StoreError, match="holds no run yet"), Store.open(folder / "one.db") as store:
            store.run()
        with Store.create(folder / "one.db") as store:
            assert store.runs() == []


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Their names and what is in them."""
    return ((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))


def test_a_database_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [])
    _foreign(path, "INSERT INTO _sqlite_migrations VALUES (99, 'streamgauge', 'm999_later', 'then')")
    for entrance in (Store.open, Store.create):
        with pytest.raises(StoreError, match=r"written by a newer streamgauge .*'m999_later'"):
            entrance(path)


def test_a_damaged_blob_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [observation()])
    _foreign(path, "UPDATE streams SET arrivals = x'01020304'")
    with (
        Store.open(path) as store,
        pytest.raises(StoreError, match=r"one\.db: streams, row 1, column arrivals: arrivals"),
    ):
        list(store.streams("run-1"))


def test_a_full_disk_is_an_error_of_one_line(tmp_path: Path) -> None:
    with Store.create(tmp_path / "one.db") as store:
        store.start_run(a_run())
        store._database.execute("PRAGMA max_page_count = 20").fetchall()  # SQLite's own way to simulate a full disk
        with pytest.raises(StoreError, match="the disk is full; what was stored before is safe"):
            store.append("run-1", [observation(detail="x" * 1_000)] * 1_000)
        assert store.run().id == "run-1"


def test_special_characters_of_uris_may_be_in_a_file_s_name(tmp_path: Path) -> None:
    path = database(tmp_path / "50%41 off?mode=memory#x.db", [observation()])
    assert path.stat().st_size > 0
    with Store.open(path) as store:
        assert store.run().id == "run-1"


def test_a_stream_of_two_hundred_tokens_takes_under_a_kilobyte(tmp_path: Path) -> None:
    at, chunks = 0.0, []
    for place in range(200):
        at += 250 if place == 1 else 20 + (place * 7_919_333 % 4_000_000) / 1e6  # ± 2 ms, as real servers have it
        chunks.append(("text", at))
    one = observation(chunks, request_id="req_0123456789abcdef", output_tokens=200, reads=200)
    path = database(tmp_path / "one.db", [one] * 500)
    assert path.stat().st_size / 500 < 1_024


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_can_be_stored(tmp_path: Path, outcome: Outcome) -> None:
    database(tmp_path / "one.db", [observation(outcome=outcome)])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET status = 'exploded'",
        *(
            f"UPDATE runs SET {name} = '{{'"
            for name in ("config", "rules", "fingerprint", "labels", "instrument", "notes")
        ),
        "UPDATE streams SET outcome = 'exploded'",
        "UPDATE streams SET answer = 'half'",
        "UPDATE streams SET labels = 'x'",
        "UPDATE streams SET arrivals = NULL",
        "UPDATE streams SET due_at = 'x'",
    ],
)
def test_a_new_file_takes_no_value_that_could_not_be_read(tmp_path: Path, statement: str) -> None:
    path = database(tmp_path / "one.db", [observation()])
    with pytest.raises(sqlite3.IntegrityError):
        _foreign(path, statement)


def test_a_lock_that_was_waited_for_in_vain_is_waited_for_briefly_until_it_is_gone(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", [])

    def patience(store: Store) -> int:
        return int(store._database.execute("PRAGMA busy_timeout").fetchone()[0])

    with Store.create(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert patience(store) == 10_000
        wait_for_locks(store._database, 0.001)  # of the ten seconds, which are long for a test
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is writing to it"):
            store.append("run-1", [observation()])
        assert patience(store) == 1_000
        other.execute("ROLLBACK")
        store.append("run-1", [observation()])
        assert patience(store) == 10_000
