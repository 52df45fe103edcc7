"""The pages that several commands write. Plotly is imported only when a page is written: it takes 0.1 s."""

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.compare.run_shapes import RunShapes
from streamgauge.harness.judge.outputs import save
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement


def of_run(database: str, run_id: str, path: str) -> None:
    from streamgauge.reports import page  # noqa: PLC0415
    from streamgauge.reports.material import gather  # noqa: PLC0415

    with Store.open(database) as store:
        _save(page.render(gather(store, run_id)), path)


def of_gate(compared: Comparison, gate: Gate, shapes: RunShapes, path: str, candidate: str = "candidate") -> None:
    from streamgauge.reports.comparison import changes, compared_page  # noqa: PLC0415

    _save(compared_page.render(changes.of_gate(compared, gate, shapes, candidate)), path)


def of_two_runs(before: Judgement, after: Judgement, settings: Regression, path: str) -> None:
    from streamgauge.reports.comparison import changes, compared_page  # noqa: PLC0415

    _save(compared_page.render(changes.of_two_runs(before, after, settings)), path)


def of_rules_and_gate(database: str, result: Gated, gate: Gate, shapes: RunShapes, path: str) -> None:
    """The report of the run whose rules ended worst, with what the gate found."""
    from streamgauge.reports.comparison import changes, compared_page  # noqa: PLC0415
    from streamgauge.reports.material import gather  # noqa: PLC0415

    with Store.open(database) as store:
        material = gather(store, result.judgement.run.id)
    _save(compared_page.render_gated(result, material, changes.of_gate(result.compared, gate, shapes)), path)


def _save(page: str, path: str) -> None:
    from streamgauge.reports.html import finished  # noqa: PLC0415

    save(finished(page), path)
