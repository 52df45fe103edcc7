"""Databases that somebody else made: any value in any column, and anything in place of a table."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streamgauge.harness.config.schema import Regression, Sla
from streamgauge.harness.judge.compare import baseline
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.store import schema
from streamgauge.harness.record.observation import Outcome
from tests.support.record import database, new_store, observation, ttfts

DEEP = "[" * 100_000
VALUES: tuple[Any, ...] = (
    None, "", "exploded", "\x1b[31mred\x07", "a\nb", 7, -1, 2**63 - 1, -(2**63), 1.5, float("inf"), b"\x80blob", b"",
    "{}", "[]", "null", "7", '"text"', "{", '{"a": 1}', '["a", 1]', '{"a": {"b": {}}}', '[{"rule": 7}]',
    '{"faults": 7}', '{"mistakes": {"a": [1]}}', '{"resolution": {"a": 1}}', '{"load_missing": [1]}',
    '[{"preset": "nosuch"}]', '{"workers": [1]}',
    '{"workers": 7}', '{"workers": {"w": 7}}', '{"workers": {"w": {"streams": "x"}}}', '{"clock_drift_ns": "x"}',
    '{"clock_drift_ns": 1' + "0" * 400 + "}", '{"reader": 7}', '{"reader": {"characters_per_second": 0}}',
    '{"reader": {"good": {"ttft": "' + "9" * 400 + 'h"}}}', DEEP, '{"a":' * 500 + "1" + "}" * 500, "[NaN]",
    '{"\\ud800": "\\udfff"}', "x" * 20_000, b"\x01\x01\x02\x03", "2026-13-45", "0001-01-01T00:00:00",
    "9999-12-31T23:59:59+00:00",
)  # fmt: skip
TEXT_THAT_IS_NOT_UTF_8 = "CAST(x'ff00fe' AS TEXT)"


class Damage(NamedTuple):
    name: str
    statements: tuple[tuple[str, tuple[Any, ...]], ...]


def sound(path: Path) -> Path:
    """Two runs of the same work, a baseline with one of them and an imported run, and every kind of row."""
    streams = [*ttfts(range(100, 130)), observation([("text", 50), ("tool", 60), ("text", 90)], tool_pause=30_000_000)]
    failed = observation([], outcome=Outcome.REFUSED, http_status=529, detail="HTTP 529: overloaded")
    rules = [Sla(rule="p95(ttft) < 1s")]
    for number in (1, 2):
        database(path, [*streams, failed], id=f"run-{number}", rules=rules, labels={"branch": "main"})
    with new_store(path) as store:
        workers = {"workers": {"local": {"streams": 32, "host": "here", "pid": 1}}}
        store.finish_run("run-2", ended_ns=10**10, status="finished", instrument=workers)
        for run in ("run-1", "run-2"):
            store.append(
                run, [], [("local", at * 10**9, name, 1.0) for at in range(5) for name in ("users", "cpu_percent")]
            )
        baseline.accept(store, "main", ["run-1"])
        exported = path.with_suffix(".json")
        exported.write_text(baseline.export(store, "main", Gate.of(Regression())).replace("run-1", "run-9"))
        baseline.import_file(store, str(exported), "main")
        baseline.import_file(store, str(exported), "other")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for word in (" STRICT", " NOT NULL"):
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, '') WHERE type = 'table'", (word,))
    connection.close()
    return path


def damages() -> Iterator[Damage]:
    """One value in one column of the second run, or of what belongs to it."""
    rows = {"runs": "id = 'run-2'", "streams": "id = 64", "samples": "run = 2", "baselines": "name = 'other'"}
    for table, where in rows.items():
        for column in _columns(table):
            for value in VALUES:
                yield Damage(
                    f"{table}.{column} = {value!r:.60}", ((f"UPDATE {table} SET {column} = ? WHERE {where}", (value,)),)
                )
            text = f"UPDATE {table} SET {column} = {TEXT_THAT_IS_NOT_UTF_8} WHERE {where}"
            yield Damage(f"{table}.{column} is not UTF-8", ((text, ()),))


def shapes() -> Iterator[Damage]:
    """Something else in place of a table or a column."""
    for table in ("runs", "streams", "samples", "baselines", "_sqlite_migrations"):
        yield Damage(f"no {table}", ((f"DROP TABLE {table}", ()),))
        yield Damage(f"{table} is empty", ((f"DELETE FROM {table}", ()),))
        yield from views(table)
        yield Damage(f"{table} has other columns", ((f"DROP TABLE {table}", ()), (f"CREATE TABLE {table} (a, b)", ())))
        yield Damage(
            f"{table} has no rowid",
            ((f"DROP TABLE {table}", ()), (f"CREATE TABLE {table} (number PRIMARY KEY, id) WITHOUT ROWID", ())),
        )
    trigger = "CREATE TRIGGER t AFTER INSERT ON baselines BEGIN DELETE FROM runs; END"
    yield Damage("a trigger", ((trigger, ()),))
    yield Damage(
        "of a newer version", (("INSERT INTO _sqlite_migrations VALUES (99, 'streamgauge', 'm999', 'then')", ()),)
    )


def views(table: str) -> Iterator[Damage]:
    """A view in place of a table: of the same rows, and of rows without end."""
    renamed = f"ALTER TABLE {table} RENAME TO hidden"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    yield Damage(f"{table} is a view", ((renamed, ()), (f"CREATE VIEW {table} AS SELECT * FROM hidden", ())))
    yield Damage(
        f"{table} is endless", ((renamed, ()), (f"CREATE VIEW {table} AS {endless} SELECT i AS number FROM n", ()))
    )


def damaged(sound: Path, path: Path, damage: Damage) -> Path:
    shutil.copy(sound, path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for statement, parameters in damage.statements:
        connection.execute("DROP VIEW IF EXISTS stream_metrics")
        connection.execute(statement, parameters)
    connection.commit()
    connection.close()
    return path


def _columns(table: str) -> list[str]:
    more = {"streams": ["resume_gap", "resume_lost", "answer", "tool_pause"]}
    known: dict[str, dict[str, Any]] = {**schema._FIRST_TABLES, **schema._LATER_TABLES}
    keys = {("runs", "number"), ("streams", "id")}  # SQLite itself takes only whole numbers there
    return [name for name in (*known[table], *more.get(table, [])) if (table, name) not in keys]
