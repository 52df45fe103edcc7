"""Judges a finished run by its rules, and writes the result in every format that the options ask for."""

from contextlib import suppress

from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, save
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import itl_counts, judgement
from streamgauge.harness.run.settings import Settings


def conclude(store: Store, run_id: str, settings: Settings) -> Exit:
    """Returns the exit code of the verdict. StoreError if a result cannot be written; each of them is tried."""
    if settings.report:
        # Imported only here: plotly takes 0.1 s, which a run without a report saves.
        from streamgauge.reports import page  # noqa: PLC0415
        from streamgauge.reports.html import finished  # noqa: PLC0415
        from streamgauge.reports.material import gather  # noqa: PLC0415

        material = gather(store, run_id, settings.rules)
        judged, report = material.judgement, settings.report
        dispatch.show(
            judged, settings.outputs, [lambda: save(finished(page.render(material)), report)], settings.printing
        )
    else:
        judged = judgement.judge(store, run_id, settings.rules)
        dispatch.show(judged, settings.outputs, printing=settings.printing)
    with suppress(StoreError):  # only a convenience: `streamgauge judge` writes the counts, too
        itl_counts.keep(store, judged)
    return judgement.exit_code(judged, settings.inconclusive)
