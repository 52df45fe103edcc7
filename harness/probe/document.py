"""What `try` found, as a JSON document. Pure; it holds no secret."""

from typing import Any

import msgspec

from streamgauge.harness.judge.wording import escaped_json
from streamgauge.harness.probe.sent import sent
from streamgauge.harness.probe.trying import Result, Try

_VERSION = 1


def document(result: Result) -> str:
    found = {
        "version": _VERSION,
        "completed": result.first.completed,
        "helped": None if result.helped is None else result.helped.lines,
        "wavering": result.wavering,
        "tries": [_try(made) for made in (result.first, *result.again)],
    }
    return escaped_json(msgspec.json.format(msgspec.json.encode(found)).decode())


def _try(made: Try) -> dict[str, Any]:
    probe, seen = made.probe, made.probe.seen
    request = sent(probe)
    moments = ("resolved_at", "connected_at", "secured_at", "sent_at", "headers_at", "first_content_at", "ended_at")
    return {
        "lines": made.lines,
        "protocol": probe.protocol.name,
        "client": probe.client,
        "request": None
        if not probe.asked
        else {"method": request.method, "url": request.url, "headers": request.headers, "body": request.body},
        "status": probe.status if probe.asked else None,
        "content_type": probe.headers.get("content-type"),
        "outcome": seen.outcome,
        "detail": seen.detail,
        "stopped": probe.stopped,
        "stop_reason": seen.stop_reason,
        "input_tokens": seen.input_tokens,
        "output_tokens": seen.output_tokens,
        "cache_read_tokens": seen.cache_read_tokens,
        "cache_write_tokens": seen.cache_write_tokens,
        "request_id": seen.request_id,
        "body_bytes": len(probe.body),
        "oddities": seen.oddities,
        "ms": {moment.removesuffix("_at"): _rounded(probe.ms(getattr(seen, moment))) for moment in moments},
        "events": [
            {"at_ms": _rounded(event.at), "bytes": event.size, "taken_for": event.what, "excerpt": event.excerpt}
            for event in made.events
        ],
        "words": probe.words[:300] if not made.events else "",
        "advice": [{"says": advice.says, "lines": advice.lines} for advice in made.advice],
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
