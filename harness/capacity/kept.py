"""What a search found, as its run keeps it: for the commands that read a database."""

import msgspec

from streamgauge.harness.capacity.found import SCHEMA, Found
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.judgement import is_search


def found_in(store: Store, run_id: str | None) -> Found | None:
    """None: the run (None: the newest) was no search. StoreError if it was one and its answer is not there."""
    run = store.run(run_id)
    return found_of(store, run) if is_search(run) else None


def found_of(store: Store, run: Run) -> Found:
    """What this search found. StoreError if its answer is not there."""
    if not run.instrument["capacity"]:
        raise StoreError(
            f"{run.id}: the search for a capacity was killed before it had an answer, or goes on: wait, or search again"
        )
    try:
        found = msgspec.convert(run.instrument["capacity"], Found)
    except msgspec.ValidationError as fault:
        raise StoreError(f"{run.id}: what the search found is no {SCHEMA}, or damaged: {fault}") from None
    if found.knee is not None and not found.knee.at > 0:
        raise StoreError(f"{run.id}: what the search found is damaged: its knee is at {found.knee.at:g}")
    # When the answer was stored, the last streams were still open.
    return msgspec.structs.replace(found, streams=store.count(run.id), seconds=store.duration(run) / 1e9)
