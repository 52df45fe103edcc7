"""The runs of a history as CSV (RFC 4180) with a header. Empty cell: not observed; `inf`: too many streams failed."""

import csv
import io

from streamgauge.harness.judge.compare.history import History, Point

_COLUMNS = (
    "run", "started_at", "branch", "commit", "streams", "failed", "ttft_p50_ms", "ttft_p95_ms", "ttft_p95_low_ms",
    "ttft_p95_high_ms", "baselines", "change",
)  # fmt: skip


def render(history: History) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, _COLUMNS)
    rows.writeheader()
    rows.writerows(_row(point) for point in history.points)
    return text.getvalue()


def _row(point: Point) -> dict[str, object]:
    return {
        "run": point.run.id,
        "started_at": point.run.started_at,
        "branch": point.run.labels.get("branch"),
        "commit": point.run.labels.get("commit"),
        "streams": point.streams,
        "failed": point.failed,
        "ttft_p50_ms": point.p50,
        "ttft_p95_ms": point.p95,
        "ttft_p95_low_ms": point.interval.low,
        "ttft_p95_high_ms": point.interval.high,
        "baselines": " ".join(point.baselines),
        "change": point.change,
    }
