"""What the rules and the dashboard ask Prometheus about the metrics of `page`. Pure."""

import json

from streamgauge.harness.monitor.burn import DAY, HOUR

SLO_PROBES, SLO_BAD = "streamgauge_slo_probes_total", "streamgauge_slo_bad_probes_total"
BUDGET_LEFT, BURN_RATE = "streamgauge_slo_budget_left_ratio", "streamgauge_slo_burn_rate"


def quoted(text: str) -> str:
    """A label's value. JSON's escapes are those of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def span(seconds: int) -> str:
    """`5m`, `6h`, `3d`, as Prometheus writes a time."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def bad(slo: str, window: str) -> str:
    return f"sum by (target) (increase({SLO_BAD}{{slo={quoted(slo)}}}[{window}]))"


def share_of_bad(slo: str, window: str) -> str:
    return f"{bad(slo, window)} / sum by (target) (increase({SLO_PROBES}{{slo={quoted(slo)}}}[{window}]))"


def quantile(share: float, buckets: str, window: str) -> str:
    return f"histogram_quantile({share:g}, sum by (target, le) (rate({buckets}[{window}])))"
