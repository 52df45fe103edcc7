"""Which streams of a run are measured, and which belong to its warm-up. Decided here for all readers of rows. Pure.

A stream belongs to the warm-up if it was due before `Run.measured_from`, whenever it ended. The view `stream_metrics`
says the same in its own words, see `schema`.
"""

from streamgauge.harness.judge.store.checked import Row

ALL = "TRUE"  # for a run without a warm-up


def condition(run: int, measured_from: object) -> str:
    """A condition of SQL that is true for the measured streams of the run with this number. RowFault."""
    until = Row("runs", run, {"measured_from": measured_from}).whole_or_none("measured_from")
    return ALL if until is None else f"due_at >= {until}"
