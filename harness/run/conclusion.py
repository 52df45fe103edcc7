"""Judges a finished run by its rules, and writes the result in every format that the options ask for."""

from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, save
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.harness.run.settings import Settings
from streamgauge.reports import page
from streamgauge.reports.material import gather


def conclude(store: Store, run_id: str, settings: Settings) -> Exit:
    """Returns the exit code of the verdict. StreamgaugeError if a result cannot be written."""
    material = gather(store, run_id, settings.rules)
    judged = material.judgement
    dispatch.show(judged, settings.outputs)
    if settings.report:
        save(page.render(material), settings.report)
    return judgement.exit_code(judged, settings.inconclusive)
