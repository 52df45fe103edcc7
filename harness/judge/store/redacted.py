"""A store from which nothing can be read that may not leave the house: for a report that is mailed outside.

Temporary views take the place of the tables. Whatever is read through this store, by whatever method, was redacted
before: a new panel or a new figure cannot forget it. A text column is NULL unless it is listed here, so one that is
added later is not told either. docs/reference/redacted-reports.md lists what stays.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlite_utils import Database

from streamgauge.harness.config.duration import decode
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import connection
from streamgauge.harness.judge.store.aliases import HIDDEN, Aliases, without_names
from streamgauge.harness.judge.store.connection import as_store_errors
from streamgauge.harness.judge.store.database import Store

_SENTENCE = "this sentence is redacted, since it may quote a server or name a host"
# Names that scenarios and this program give: they stay, but for hosts and machines in them.
_NAMES = {
    "streams": ("scenario", "user", "protocol", "client", "network", "behaviour", "oddities"),
    "runs": ("id", "scenario"),
    "samples": (),
}
_CLOSED = ("answer", "outcome", "name", "started_at", "status")  # words of this program, and a time
_SENTENCES = ("aborted", "unsaved")  # of the instrument; and lists of them
_LISTS = ("faults", "mistakes")


def redact(store: Store) -> Aliases:
    """From now on, this store tells nothing confidential. Returns what stands for what."""
    with as_store_errors(store.path), connection.undecodable_text_as_bytes(store._database):
        aliases = Aliases(_hosts(store._database))
    functions: dict[str, Callable[..., Any]] = {
        "name": aliases.name,
        "worker": aliases.worker,
        "stop_reason": aliases.stop_reason,
        "address": aliases.address,
        "replica": aliases.replica,
        "labels": _of_json(dict[str, str], aliases.labels),
        "host": aliases.host,
        "config": _of_json(dict[str, Any], lambda found: without_names(found, aliases)),
        "instrument": _of_json(dict[str, Any], lambda found: _instrument(found, aliases)),
        "rules": _of_json(list[Sla], lambda found: [aliases.sla(each) for each in found]),
        "notes": _of_json(list[str], lambda found: [_SENTENCE for _ in found]),
    }
    special = {
        "streams": {"worker": "worker", "stop_reason": "stop_reason", "labels": "labels", "address": "address",
                    "replica": "replica"},
        "runs": {
            "host": "host", "labels": "labels", "config": "config", "fingerprint": "config",
            "instrument": "instrument", "rules": "rules", "notes": "notes",
        },
        "samples": {"worker": "worker"},
    }  # fmt: skip
    with as_store_errors(store.path):
        for function, implementation in functions.items():
            store._database.conn.create_function(f"redacted_{function}", 1, implementation, deterministic=True)
        for table, columns in special.items():
            of_column = {**dict.fromkeys(_NAMES[table], "name"), **columns}
            _replace(store._database, table, of_column)
        if store._database.table("baselines").exists():  # their names are a person's, and documents hold other runs
            store._database.execute("CREATE TEMP VIEW baselines AS SELECT * FROM main.baselines WHERE 0")
    return aliases


def _replace(database: Database, table: str, of_column: dict[str, str]) -> None:
    """Put a temporary view in the place of a table. `of_column`: the function for each text that is told."""
    kinds = database.table(table).columns_dict
    told = (
        f"redacted_{of_column[name]}({name}) AS {name}"
        if name in of_column
        else name
        if kind in {int, float, bytes} or name in _CLOSED
        else f"NULL AS {name}"
        for name, kind in kinds.items()
    )
    database.execute(f"CREATE TEMP VIEW {table} AS SELECT rowid AS rowid, {', '.join(told)} FROM main.{table}")  # noqa: S608 - our own names


def _hosts(database: Database) -> list[str]:
    """The host of each run, and the name of each machine that took part."""
    found: list[str] = []
    for host, instrument in database.execute("SELECT host, instrument FROM runs"):
        found += [host] if isinstance(host, str) else []
        workers = _decoded(instrument, dict[str, Any]) or {}
        facts = workers.get("workers")
        processes = facts.values() if isinstance(facts, dict) else ()
        found += [str(each.get("host", "")) for each in processes if isinstance(each, dict)]
    return found


def _instrument(found: dict[str, Any], aliases: Aliases) -> dict[str, Any]:
    told = without_names(found, aliases)
    workers = found.get("workers")
    if isinstance(workers, dict):
        told["workers"] = {
            aliases.worker(name): _of_process(about, aliases)
            for name, about in workers.items()
            if isinstance(about, dict)
        }
    told |= {name: _SENTENCE for name in _SENTENCES if found.get(name)}
    told |= {name: [_SENTENCE for _ in found[name]] for name in _LISTS if isinstance(found.get(name), list)}
    return told


def _of_process(about: dict[str, Any], aliases: Aliases) -> dict[str, Any]:
    host = about.get("host")
    return without_names(about, aliases) | ({"host": aliases.machine(host)} if isinstance(host, str) else {})


def _of_json(kind: Any, redacted: Callable[[Any], object]) -> Callable[[Any], Any]:
    """A function from JSON to JSON. What is no such JSON is HIDDEN: whoever reads the row names its fault."""

    def of_text(text: Any) -> Any:
        found = _decoded(text, kind)
        return HIDDEN if found is None else msgspec.json.encode(redacted(found), enc_hook=str).decode()

    return of_text


def _decoded(text: Any, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind, dec_hook=decode)
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError):
        return None
