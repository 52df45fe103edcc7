"""The connection to an SQLite file; SQLite's errors become messages that say what to do."""

import _sqlite3
import ctypes
import os
import sqlite3
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

from streamgauge.harness.errors import DamagedRow, RowError, StoreError
from streamgauge.harness.judge.store.checked import RowFault, text_or_bytes
from streamgauge.harness.native import library
from streamgauge.harness.near_miss import did_you_mean

T = TypeVar("T")

Connection = sqlite3.Connection  # what a part with tables of its own in the database is given
Error = sqlite3.Error  # any of SQLite

_MOST_BYTES = 64 * 2**20  # of a value or a row; the largest that we write is the blob of 250,000 events, below 12 MiB

_ADVICE = {  # by a part of SQLite's message
    "not a database": "not an SQLite file; give another path",
    "locked": "another process is writing to it; wait for that run to end, or give another path",
    "readonly": "cannot be written: the file or its folder is read-only",
    "disk is full": "the disk is full; what was stored before is safe",
    "disk I/O": "the disk reports an error, or a quota is used up; what was stored before is safe",
    "unable to open": "cannot be opened; is it a file, in a folder that you may write to?",
    "too big": "a value in it is larger than any that streamgauge writes",
    "malformed": "the file is damaged; `.recover` of the sqlite3 shell saves what can be saved",
}
TooLarge = sqlite3.DataError  # SQLite's error for a value or a row of more than _MOST_BYTES
MAGIC = b"SQLite format 3\0"  # how every file of SQLite begins
# After that: the size of a page, the number of changes, of pages, and of changes when the pages were counted.
_HEADER = struct.Struct(">16sH6xII60xI")
_LOCKED = 10.0  # seconds to wait for a lock of another process
_STILL_LOCKED = 1.0  # the same for a lock that has outlasted that: the end of a run writes four times


def connect(path: Path, mode: str) -> Database:
    """`mode` as in SQLite's URIs: rwc, rw, ro."""
    uri = f"file:{_quoted(path)}?mode={mode}"
    # check_same_thread: a run's writer calls from a thread beside the event loop, one call at a time.
    with _offering_compiled():
        connection = sqlite3.connect(uri, uri=True, timeout=_LOCKED, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA trusted_schema = OFF")  # the schema may be somebody else's
    return Database(connection, execute_plugins=False)


def reading_mode(path: Path) -> str:
    """The mode for a database that this process may not write.

    WAL needs a -shm file, which a read-only disk cannot hold. `immutable` does without, but ignores locks and what is
    in the log: it is only for a file that no other user's process writes.
    """
    log, shared = (Path(f"{path}{end}") for end in ("-wal", "-shm"))
    return "ro" if _size(log) or (log.exists() and shared.exists()) else "ro&immutable=1"


@contextmanager
def _offering_compiled() -> Iterator[None]:
    """Have SQLite give connections that are opened meanwhile the function `sg_rows` of the compiled code.

    It gives none where it is not a library beside Python's module, but built into it. Then Python reads the rows.
    """
    try:
        sqlite = ctypes.CDLL(_sqlite3.__file__)  # finds the names of the library that Python's module uses
        offer, withdraw = sqlite.sqlite3_auto_extension, sqlite.sqlite3_cancel_auto_extension
        begin = ctypes.cast(library.LIBRARY.sg_sqlite, ctypes.c_void_p)
    except (OSError, AttributeError):
        yield
        return
    offer(begin)
    try:
        yield
    finally:
        withdraw(begin)


@contextmanager
def transaction(database: Database) -> Iterator[None]:
    """Whole or not at all. A lock that was once waited for in vain is waited for briefly, until it is gone.

    It takes the write lock at once. A transaction that starts with reading would fail instead of waiting if another
    process wrote in between (SQLITE_BUSY_SNAPSHOT).
    """
    with database.conn:
        try:
            database.conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            wait_for_locks(database, _STILL_LOCKED)
            raise
        wait_for_locks(database, _LOCKED)
        yield


def wait_for_locks(database: Database, seconds: float) -> None:
    database.conn.execute(f"PRAGMA busy_timeout = {seconds * 1e3:.0f}")


def check_file(path: Path) -> None:
    """StoreError if there is no such file, or it is none that SQLite should open, such as a pipe."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        known = sorted(other.name for other in path.parent.glob("*.db"))
        raise StoreError(f"{path}: no such database; give the run's --db{did_you_mean(path.name, known)}") from None
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: cannot be opened: it is no regular file; give the path of a database")
    _check_whole(path)


def _check_whole(path: Path) -> None:
    """StoreError for a file that was cut off, as by a copy that ended early: SQLite reads zeros for what is lost.

    By the file's own count of pages, where that is up to date (https://www.sqlite.org/fileformat2.html, 1.3.7). With a
    log of what is to be written beside it, SQLite completes the file itself.
    """
    with path.open("rb") as file:
        header, size = file.read(_HEADER.size), os.fstat(file.fileno()).st_size
    if len(header) < _HEADER.size or any(_size(Path(f"{path}{end}")) for end in ("-wal", "-journal")):
        return
    magic, page, changes, pages, counted_at = _HEADER.unpack(header)
    whole = pages * (65_536 if page == 1 else page)
    if magic == MAGIC and counted_at == changes and size < whole:
        found = f"{size:,} of its {whole:,} bytes are there"
        raise StoreError(f"{path}: is cut off: {found}; copy it once more, to its end")


def _size(path: Path) -> int:
    """0 if there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that is put in its place. None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def undecodable_as_bytes(connection: Connection) -> Iterator[None]:
    """Meanwhile, text that is not UTF-8 is returned as bytes. Otherwise it would end the query."""
    connection.text_factory = text_or_bytes
    try:
        yield
    finally:
        connection.text_factory = str


def undecodable_text_as_bytes(database: Database) -> AbstractContextManager[None]:
    return undecodable_as_bytes(database.conn)


def decoded(database: Database, read: Callable[[], T]) -> T:
    """What `read` returns, with `undecodable_text_as_bytes` only if it is needed: that calls Python for each text."""
    try:
        return read()
    except sqlite3.OperationalError as fault:
        if "decode" not in str(fault):
            raise
    with undecodable_text_as_bytes(database):
        return read()


def _quoted(path: Path) -> str:
    return path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def close(database: Database) -> None:
    """Fold the write-ahead log into the file first, so that the database is a single file."""
    with suppress(sqlite3.Error):  # fails while a reader uses the log; then the last connection to close folds it
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    database.close()


@contextmanager
def as_store_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite, of a row and of the file system into a StoreError of one line that says what to do."""
    try:
        yield
    except RowFault as fault:
        raise DamagedRow(f"{path}: {fault}") from None
    except (sqlite3.IntegrityError, sqlite3.DataError) as fault:
        raise RowError(f"{path}: {fault}") from fault
    except sqlite3.DatabaseError as fault:
        message = str(fault)
        advice = next((advice for part, advice in _ADVICE.items() if part in message), f"SQLite says: {message}")
        raise StoreError(f"{path}: {advice}") from fault
    except UnicodeDecodeError as fault:  # of the schema, or of SQLite's message about it
        raise StoreError(f"{path}: {_ADVICE['malformed']}") from fault
    except OSError as fault:
        raise StoreError(f"{path}: cannot be opened: {fault.strerror}") from fault
