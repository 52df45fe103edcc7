"""What a search found, as tests of its outputs give it: a server that gives way at 99 users."""

from typing import Any

import msgspec

from streamgauge.harness.capacity.found import Found

_RULES = {"rule": "p95(ttft) < 1.5s", "figure": "p95(ttft)", "unit": "ms", "limit": 1500.0}
_ITL = {"rule": "p95(itl) < 200ms", "figure": "p95(itl)", "unit": "ms", "limit": 200.0}


def level(users: int, verdict: str, bad: float, ttft: float | None, **fields: Any) -> dict[str, Any]:
    """One visit, with this share of bad streams and this P95 of TTFT, ms."""
    kept = ttft is not None and ttft < 1500
    given = {
        "users": users, "verdict": verdict, "streams": 1000, "bad": round(1000 * bad), "effective": 640.0,
        "purpose": "bisect", "begins": 10.0, "ends": 40.0, "ttft_p95": ttft, "itl_p95": 41.0,
        "completions": min(users, 90) / 2.0, "error_rate": 0.0,
        "rules": [
            {**_RULES, "observed": ttft, "status": "met" if kept else "missed", "kept": kept},
            {**_ITL, "observed": 41.0, "status": "met", "kept": True},
        ],
    }  # fmt: skip
    return {**given, **fields}


def found(**fields: Any) -> Found:
    levels = [
        *(level(users, "passed", 0.0, 400.0, purpose="climb") for users in (4, 8, 16, 32, 64)),
        level(128, "missed", 0.4, 4000.0, purpose="climb"),
        level(84, "passed", 0.02, 1100.0),
        level(99, "missed", 0.11, 2900.0),
        level(90, "undecided", 0.05, 1500.0, purpose="confirm"),
    ]
    given = {
        "proven": 84, "knee": {"at": 90.2, "low": 86.0, "high": 95.1}, "gave_way": "server", "rule": "p95(ttft) < 1.5s",
        "levels": levels, "passed": 84, "not_passed": 90, "stopped": None, "at_least": None, "most": 1000,
        "run": "concurrency-20261128-001542-b461", "host": "https://staging.example", "scenario": "concurrency",
        "streams": 9876, "seconds": 412.0, "cost": 1.5, "currency": "USD",
    }  # fmt: skip
    return msgspec.convert({**given, **fields}, Found)
