"""Which streams of a run are measured, and which belong to its warm-up. Decided here and nowhere else.

A stream belongs to the warm-up if it was due before `Run.measured_from`, whenever it ended. The view `stream_metrics`
says the same in its own words, see `schema`.
"""

from sqlite_utils import Database

from streamgauge.harness.judge.store.checked import Row


def condition(database: Database, run: int) -> str:
    """A condition of SQL that is true for the measured streams of the run with this number. RowFault."""
    if "measured_from" not in database.table("runs").columns_dict:
        return "TRUE"  # an older file that is read-only, so it was not migrated
    (moment,) = database.execute("SELECT measured_from FROM runs WHERE number = ?", [run]).fetchone()
    until = Row("runs", run, {"measured_from": moment}).whole_or_none("measured_from")
    return "TRUE" if until is None else f"due_at >= {until}"
