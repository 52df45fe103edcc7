"""A finished run's conclusion: judged by its rules, and the result written wherever the options ask for it."""

from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, save
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.harness.run.settings import Settings
from streamgauge.reports import page
from streamgauge.reports.material import gather


def conclude(store: Store, run_id: str, settings: Settings) -> Exit:
    """The exit code of the verdict. StreamgaugeError if a result cannot be written."""
    material = gather(store, run_id, settings.rules)
    judged = material.judgement
    dispatch.show(judged, settings.outputs)
    if settings.report:
        save(page.render(material), settings.report)
    return judgement.exit_code(judged, settings.inconclusive)
