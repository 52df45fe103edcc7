"""The database of a monitor: a store whose runs are made by probes, with tables for service levels and incidents."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from streamgauge.harness.errors import DamagedRow, StoreError
from streamgauge.harness.judge.store import monitor_schema, schema
from streamgauge.harness.judge.store.connection import Connection, as_store_errors
from streamgauge.harness.judge.store.database import Store
from streamgauge.harness.judge.store.rows import Run
from streamgauge.harness.judge.store.streams import Streams

_FIRST = "SELECT max(id), count(*) FROM (SELECT id FROM streams WHERE id > ? ORDER BY id LIMIT ?)"


class New(NamedTuple):
    """Some of a run's streams that are new since the last look."""

    run: Run
    streams: Streams


class Latest(NamedTuple):
    last: int  # the id of the last stream that was looked at
    new: list[New]
    unread: list[str]  # why streams were left out, a sentence each
    more: bool  # whether there may be more


class MonitorStore(Store):
    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        return super().create(path)._prepared()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """StoreError if it is not the database of a monitor."""
        store = super().open(path)
        if "monitor_state" not in schema.entries(store._database):
            store.close()
            raise StoreError(f"{path}: not written by a monitor; give the --db of `streamgauge monitor`")
        return store._prepared()

    def _prepared(self) -> Self:
        try:
            with as_store_errors(self.path):
                self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    def _prepare(self) -> None:
        if unknown := monitor_schema.unknown_migration(self._database):
            raise StoreError(
                f"{self.path}: written by a newer streamgauge (its monitor's schema has {unknown!r}); "
                f"upgrade streamgauge to read it"
            )
        if fault := monitor_schema.fault(self._database):
            raise StoreError(f"{self.path}: {fault}, so it is none of ours, or it was changed; give another path")
        if monitor_schema.needs_migration(self._database) and os.access(self.path, os.W_OK):
            with self._writing():
                monitor_schema.migrate(self._database)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, whole or not at all, that excludes other writers."""
        with self._writing():
            yield self._database.conn

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection, for reading."""
        with as_store_errors(self.path):
            yield self._database.conn

    def has_streams(self, after: int) -> bool:
        """Whether there are streams whose ids are larger."""
        with self.reading() as connection:
            return connection.execute("SELECT 1 FROM streams WHERE id > ? LIMIT 1", [after]).fetchone() is not None

    def new_streams(self, after: int, most: int) -> "Latest":
        """The streams of probes whose ids are larger, of the first `most` streams of any run."""
        with as_store_errors(self.path):
            last, found = self._database.execute(_FIRST, [after, most]).fetchone()
            if not found:
                return Latest(after, [], [], False)
            numbers = self._database.execute(
                "SELECT DISTINCT run FROM streams WHERE id > ? AND id <= ? ORDER BY run", [after, last]
            ).fetchall()
        new: list[New] = []
        unread: list[str] = []
        for (number,) in numbers:
            try:
                run = self._run_numbered(number)
            except DamagedRow as fault:
                unread.append(str(fault))
                continue
            if run.probes is None:
                continue  # somebody else's, in the same file
            new += [New(run, streams) for streams in self._readable(run, after, last, unread)]
        return Latest(last, new, unread, found >= most)

    def _run_numbered(self, number: int) -> Run:
        with as_store_errors(self.path):
            return self._run_of(self.row("runs", "*", number))

    def _readable(self, run: Run, after: int, last: int, unread: list[str]) -> Iterator[Streams]:
        """The run's streams between two ids. A damaged one is left out, and what is wrong with it goes to `unread`."""
        chosen = f"id <= {last:d}"
        try:
            found = [*self._streams(run.id, chosen, last - after, after)]
            for streams in found:
                _ = streams.events  # decodes the arrivals: damaged ones are told here
        except DamagedRow:
            found = []
            with as_store_errors(self.path):
                ids: list[tuple[int]] = self._database.execute(
                    "SELECT id FROM streams WHERE run = ? AND id > ? AND id <= ?", [self._known(run.id), after, last]
                ).fetchall()
            for (each,) in ids:
                try:
                    (streams,) = self._streams(run.id, f"id = {each:d}", 1, each - 1)
                    _ = streams.events
                except DamagedRow as fault:
                    unread.append(str(fault))
                else:
                    found.append(streams)
        yield from found

    def number(self, name: str, default: int) -> int:
        """Of monitor_state. DamagedRow if it is none."""
        found = self.value(name, default)
        if not isinstance(found, int | float):
            raise DamagedRow(f"{self.path}: monitor_state: {name} is no number: the database is damaged")
        return int(found)

    def value(self, name: str, default: Any) -> Any:
        """Of monitor_state."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM monitor_state WHERE name = ?", [name]).fetchone()
        return default if row is None else row[0]
