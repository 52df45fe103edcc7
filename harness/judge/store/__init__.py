"""The store: every run and its streams in one SQLite file. The only door to sqlite3 and sqlite-utils."""

from streamgauge.harness.judge.store.database import Store
from streamgauge.harness.judge.store.rows import Accepted, Failure, Run, RunStatus, VitalRow, VitalSeries
from streamgauge.harness.judge.store.streams import Streams, matches

__all__ = [
    "Accepted",
    "Failure",
    "Run",
    "RunStatus",
    "Store",
    "Streams",
    "VitalRow",
    "VitalSeries",
    "matches",
]
