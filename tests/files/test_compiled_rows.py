"""C makes the same streams of a database's rows as Python does, and finds the same faults."""

import _sqlite3
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Store, batches, connection, redact
from streamgauge.harness.judge.store.streams import streams_of_rows
from streamgauge.harness.native import layout, library
from tests.fuzz import rows
from tests.support import any_streams

_BATCH, _COUNT = 20, 130

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(library.LIBRARY is None, reason="the package was installed without a compiler"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "sound.db"
    any_streams.store(path, Random(1), _COUNT)
    return path.read_bytes()


@pytest.fixture
def path(sound: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "a % name? of #1.db"
    path.write_bytes(sound)
    return path


@pytest.fixture
def by_python(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What Python makes streams of from now on, where C does not."""
    made: list[object] = []

    def noted(found: object, source: str) -> object:
        made.append(found)
        return streams_of_rows(found, source)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "streams_of_rows", noted)
    return made


def _told(path: Path, batch: int = _BATCH) -> list[object]:
    """Every batch of streams by its values, or the fault that ended the reading."""
    try:
        with Store.open(path) as store:
            return list(_values(store, batch))
    except StoreError as fault:
        return [type(fault), str(fault)]


def _values(store: Store, batch: int = _BATCH) -> Iterator[object]:
    for streams in store.streams("any", batch=batch):
        text = {name: [*column] for name, column in streams.text.items()}
        numbers = {name: column.tobytes() for name, column in streams.number.items()}
        yield streams.id.tolist(), text, numbers, streams.blobs, streams.source


def _told_without_c(path: Path, batch: int = _BATCH) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        return _told(path, batch)


def _changed(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(statement, parameters)
        database.commit()


@given(st.integers(0))
def test_any_values_in_rows_are_the_same_streams_or_the_same_fault(seed: int) -> None:
    rows.case(Random(seed))


def test_c_alone_makes_the_streams_of_a_usual_run(path: Path, by_python: list[object]) -> None:
    compiled = _told(path)
    assert len(compiled) > 4
    assert by_python == []
    assert compiled == _told_without_c(path)
    assert len(by_python) == len(compiled)


@pytest.mark.parametrize(("different", "batches_by_python"), [(layout.DIFFERENT, 0), (layout.DIFFERENT + 1, 1)])
def test_a_batch_with_more_texts_in_a_column_than_c_takes_is_left_to_python(
    tmp_path: Path, by_python: list[object], different: int, batches_by_python: int
) -> None:
    path = tmp_path / "many.db"
    any_streams.store(path, Random(2), different)
    _changed(path, "UPDATE runs SET measured_from = NULL")
    _changed(path, "UPDATE streams SET network = 'network ' || id")
    compiled = _told(path, batch=1_000)
    assert len(by_python) == batches_by_python
    assert compiled == _told_without_c(path, batch=1_000)


@pytest.mark.parametrize("name", ["none such.so", "libc.so.6"])
def test_where_sqlite_offers_c_nothing_python_makes_the_streams(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, by_python: list[object]
) -> None:
    compiled = _told(path)
    monkeypatch.setattr(_sqlite3, "__file__", name)
    assert _told(path) == compiled
    assert len(by_python) == len(compiled)


def test_where_sqlite_is_a_part_of_python_the_streams_are_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = _told(path)
    monkeypatch.delattr(_sqlite3, "__file__")
    assert _told(path) == compiled


def test_only_the_connections_of_a_store_have_the_function(path: Path) -> None:
    refused = pytest.raises(sqlite3.OperationalError, match="no such function: sg_rows")
    with Store.open(path), closing(sqlite3.connect(":memory:")) as database, refused:
        database.execute("SELECT sg_rows(1)")


def test_no_schema_can_call_the_function(path: Path) -> None:
    """A file that somebody else made would have it write to any address."""
    with Store.open(path) as store:
        store._database.execute("CREATE VIEW theirs AS SELECT sg_rows(4096, 1, x'', 2) AS it")
        with pytest.raises(sqlite3.OperationalError, match="unsafe use of sg_rows"):
            store._database.execute("SELECT * FROM theirs")


def test_a_row_with_too_few_columns_is_refused(path: Path) -> None:
    to = layout.Rows(most=1, text_columns=1)
    library.LIBRARY.sg_fill(to)
    try:
        with Store.open(path) as store, pytest.raises(sqlite3.OperationalError, match="left to Python"):
            store._database.execute("SELECT sg_rows(1, x'')")
    finally:
        library.LIBRARY.sg_fill(None)


def test_only_the_thread_that_reads_has_its_rows_filled(path: Path) -> None:
    """A connection that another thread opens at the same time may have the function, too."""
    to = layout.Rows(most=1)
    with Store.open(path) as store, ThreadPoolExecutor(1) as other:
        assert len([*store.streams("any")]) == 1
        other.submit(library.LIBRARY.sg_fill, to).result()
        with pytest.raises(sqlite3.OperationalError, match="left to Python"):
            store._database.execute("SELECT sg_rows(1, x'')")
    assert to.count == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("id + 0.5", "row 1.5, column id: 1.5 is no whole number"),
        ("CAST(id AS BLOB)", "row a blob of 1 byte, column id: a blob of 1 byte is no whole number"),
        ("'x' || id", "row 'x1', column id: 'x1' is no whole number"),
        ("9e999", "row inf, column id: inf is no whole number"),
    ],
)
def test_an_id_that_is_no_whole_number_is_a_fault(path: Path, wrong: str, told: str) -> None:
    """A batch begins after the last id of the one before, so the same streams would be read for ever."""
    _changed(path, "UPDATE runs SET measured_from = NULL")
    _changed(path, "CREATE TABLE ours AS SELECT * FROM streams")
    _changed(path, "DROP TABLE streams")
    _changed(path, "CREATE TABLE streams AS SELECT * FROM ours")  # without a type that ids have to have
    _changed(path, f"UPDATE streams SET id = {wrong}")
    compiled = _told(path)
    assert told in str(compiled[-1])
    assert compiled == _told_without_c(path)


def test_what_is_redacted_is_redacted_for_c(path: Path) -> None:
    def told() -> list[object]:
        with Store.open(path) as store:
            redact(store)
            return list(_values(store))

    compiled = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "LIBRARY", None)
        assert told() == compiled
    assert compiled != _told(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_has_the_same_fault(path: Path, sound: bytes, seed: int) -> None:
    random = Random(seed)
    damaged = bytearray(sound)
    if seed < 3:
        del damaged[random.randrange(len(sound)) :]
    else:
        begin, length = random.randrange(16_384, len(sound) - 5_000), random.choice((1, 30, 5_000))  # behind the schema
        damaged[begin : begin + length] = random.randbytes(length)
    path.write_bytes(damaged)
    assert _told(path) == _told_without_c(path)


def test_a_value_that_is_too_large_has_the_same_fault(path: Path) -> None:
    _changed(path, "UPDATE streams SET arrivals = zeroblob(?) WHERE id = 50", 70_000_000)
    compiled = _told(path)
    assert compiled == _told_without_c(path)
    assert "a value is larger than this program writes" in str(compiled[1])


def test_a_locked_file_has_the_same_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> str:
        with Store.open(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
            reading = store.streams("any", batch=_BATCH)
            next(reading)
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreError) as fault:
                next(reading)
        return str(fault.value)

    _changed(path, "PRAGMA journal_mode = DELETE")  # readers of a write-ahead log meet no lock
    monkeypatch.setattr(connection, "_LOCKED", 0.1)
    compiled = told()
    assert "another process is writing to it" in compiled
    monkeypatch.setattr(library, "LIBRARY", None)
    assert told() == compiled


def test_streams_that_are_stored_while_a_run_is_read_are_read_too(path: Path, by_python: list[object]) -> None:
    with Store.open(path) as store, Store.create(path) as writer:
        reading = store.streams("any", batch=_BATCH)
        ids = [*next(reading).id]
        writer.append("any", [any_streams.stream(Random(7), _COUNT)])
        assert [*ids, *(number for streams in reading for number in streams.id)][-1] == _COUNT + 1
        assert by_python == []
