"""The store: every run and its streams in one SQLite file. The only door to sqlite3 and sqlite-utils.

connection       SQLite's connection and its errors
checked          values of a file that may hold anything
schema           the tables, as migrations
monitor_schema   the monitor's own tables
rows             runs, accepted runs, failures and vitals as values
streams          streams as columns
batches          reads batches of them, by C or by Python
texts            a column of texts
single           one stream with all that it tells
redacted         a store that tells nothing confidential
aliases          what stands for what is redacted
exported         streams and chunks as rows for other programs
measured         which of them are measured, and which belong to the warm-up
incoming         streams that are not stored yet
derived          counts of gaps for people who write SQL
database         the store itself
monitored        the store of a monitor
merged           the databases of several monitors as one
spent            the tokens that its probes have spent
beside           a large run's streams, read by a second process, which `__main__` is
"""

from streamgauge.harness.judge.store.aliases import Aliases
from streamgauge.harness.judge.store.beside import FEWEST_BESIDE, measured_streams
from streamgauge.harness.judge.store.database import BATCH, Store
from streamgauge.harness.judge.store.derived import GapCounts
from streamgauge.harness.judge.store.exported import Column, ExportedRow, chunk_rows, stream_rows
from streamgauge.harness.judge.store.incoming import fault_of, streams_of
from streamgauge.harness.judge.store.redacted import redact
from streamgauge.harness.judge.store.rows import Accepted, Run, RunStatus, VitalRow, VitalSeries
from streamgauge.harness.judge.store.single import StreamInFull, stream_in_full
from streamgauge.harness.judge.store.streams import Streams, decoded, decoded_ahead, matches, selected_by
from streamgauge.harness.judge.store.texts import Texts, combinations

__all__ = [
    "BATCH",
    "FEWEST_BESIDE",
    "Accepted",
    "Aliases",
    "Column",
    "ExportedRow",
    "GapCounts",
    "Run",
    "RunStatus",
    "Store",
    "StreamInFull",
    "Streams",
    "Texts",
    "VitalRow",
    "VitalSeries",
    "chunk_rows",
    "combinations",
    "decoded",
    "decoded_ahead",
    "fault_of",
    "matches",
    "measured_streams",
    "redact",
    "selected_by",
    "stream_in_full",
    "stream_rows",
    "streams_of",
]
