"""A diagnosis as a JSON document, by docs/reference/doctor.schema.json. Pure; it holds no secret."""

from typing import Any

import msgspec

from streamgauge.harness.doctor.diagnosis import Diagnosis, Item
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.judge.wording import escaped_json

_VERSION = 1


def document(diagnosis: Diagnosis) -> str:
    evidence = diagnosis.evidence
    found = {
        "version": _VERSION,
        "url": evidence.url,
        "origin": evidence.origin,
        "protocol": evidence.protocol,
        "status": diagnosis.status,
        "exit_code": int(diagnosis.exit_code),
        "sentence": diagnosis.sentence,
        "recognised": [product.name for product in evidence.products],
        "requests": evidence.requests,
        "budget": evidence.budget,
        "seconds": round(evidence.seconds, 3),
        "stopped": evidence.stopped,
        "counts": dict(diagnosis.counts),
        "checks": [_item(item) for item in diagnosis.items],
        "answers": {name: _answer(seen) for name, seen in evidence.seen.items()},
        "untried": dict(evidence.untried),
        "advice": [{"says": advice.says, "lines": advice.lines} for advice in evidence.advice],
    }
    return escaped_json(msgspec.json.format(msgspec.json.encode(found)).decode()) + "\n"


def _item(item: Item) -> dict[str, Any]:
    result = item.result
    return {
        "check": item.name,
        "title": item.check.title,
        "status": result.status,
        "evidence": result.says,
        "why": item.check.why,
        "fixes": [{"line": fix.line, "source": fix.source} for fix in result.fixes],
    }


def _answer(seen: Seen) -> dict[str, Any]:
    return {
        "method": seen.method,
        "url": seen.url,
        "status": seen.status,
        "outcome": seen.outcome,
        "detail": seen.record.detail,
        "headers": dict(seen.headers),
        "events": len(seen.events),
        "content_events": len(seen.content),
        "reads": seen.record.reads,
        "wait_ms": _rounded(seen.wait),
        "whole_ms": _rounded(seen.whole),
        "pace_ms": _rounded(seen.pace),
        "held": seen.held if seen.judged else None,
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
