"""The runs of a history as CSV (RFC 4180) with a header. Empty cell: not observed; `inf`: too many streams failed.

Anyone can name a git branch `=cmd|…`, so texts are written as `spreadsheet` makes them safe.
"""

import csv
import io

from streamgauge.harness.judge.compare.history import History, Point
from streamgauge.harness.judge.outputs.spreadsheet import text as _text

_COLUMNS = (
    "run", "started_at", "branch", "commit", "streams", "failed", "ttft_p50_ms", "ttft_p95_ms", "ttft_p95_low_ms",
    "ttft_p95_high_ms", "baselines", "change", "change_p50", "release",
)  # fmt: skip
_OF_COST = ("cost", "cost_per_1000_answers", "currency", "streams_without_usage")  # only if some run has a cost


def render(history: History) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, (*_COLUMNS, *(_OF_COST if history.priced else ())), extrasaction="ignore")
    rows.writeheader()
    rows.writerows(_row(point) | _cost(point) for point in history.points)
    return text.getvalue()


def _row(point: Point) -> dict[str, object]:
    return {
        "run": _text(point.run.id),
        "started_at": _text(point.run.started_at),
        "branch": _text(point.run.labels.get("branch", "")),
        "commit": _text(point.run.labels.get("commit", "")),
        "streams": point.streams,
        "failed": point.failed,
        "ttft_p50_ms": point.p50,
        "ttft_p95_ms": point.p95,
        "ttft_p95_low_ms": point.interval.low,
        "ttft_p95_high_ms": point.interval.high,
        "baselines": _text(" ".join(point.baselines)),
        "change": point.change,
        "change_p50": point.change_p50,
        "release": _text(point.release),
    }


def _cost(point: Point) -> dict[str, object]:
    if point.cost is None:
        return {}
    cost = point.cost
    return dict(zip(_OF_COST, (cost.total, cost.per_thousand, _text(cost.currency), cost.silent), strict=True))
