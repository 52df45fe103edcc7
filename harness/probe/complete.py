"""What to look at although the answer is complete: what the config leaves unsaid. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.protocols.protocol import Answer, line
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.events import Taken
from streamgauge.harness.probe.guess import reason_place
from streamgauge.harness.probe.samples import Sample, at

_MOST_TEXTS, _FEWEST = 50, 4  # chunks
_TAG = 20  # characters
_TAIL = 65_536  # bytes at the end of the body, where a stop reason is
_EVENT_END = re.compile(rb"\r?\n\r?\n|\r\r")
_MODELS = ("model", "message.model", "response.model", "modelVersion")  # where formats have the name of the model


def unsaid(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    """Stop reasons that are not looked at, texts that are not what they seem, and a model that nobody named."""
    yield from _stop_reason(probe)
    yield from _odd_text(of_text(events))
    yield from _model(probe)


def of_text(events: Iterable[Taken]) -> list[str]:
    """What the text chunks among these events hold."""
    return [event.text for event in events if event.content and "text" in event.what]


def repeat(texts: Sequence[str]) -> bool:
    """Whether each of these chunks of text begins with the whole one before it."""
    first = texts[:_MOST_TEXTS]
    longer = all(len(old) < len(new) and new.startswith(old) for old, new in pairwise(first))
    return len(first) >= _FEWEST and longer


def _odd_text(texts: list[str]) -> Iterator[Advice]:
    if repeat(texts):
        yield Advice(
            "Each chunk repeats all the text before it, so that people get it many times, and the figures of "
            "characters and reading count it so. Correct the server: a chunk has what is new."
        )
    if "".join(texts[:_MOST_TEXTS])[:_TAG].lstrip().startswith(("<think>", "<thinking>")):
        yield Advice(
            "The model's thinking comes as text, between tags: ttft_text ends at the tag. A server that parses it out "
            "(vLLM: --reasoning-parser) sends it in a field of its own."
        )


def _stop_reason(probe: Probe) -> Iterator[Advice]:
    events = probe.target.events
    if events is None or events.stop_reason is not None:
        return
    found = reason_place(Sample(_tail(probe.body), probe.headers))
    if found is None:
        return
    path, reason = found
    says = (
        "The config has no stop_reason, so that an answer which the server aborted counts as complete. One seems to be "
        f"at {line(path, 60)}: {line(reason, 40)!r} in this answer."
    )
    if Answer(stop_reason=reason).gave_up:  # then this answer is such a one: ask again with the whole table
        table = lines.written(probe.target)["events"] | {"stop_reason": path}
        yield Advice(says, lines.target(events=table))
    else:
        yield Advice(says, lines.target(events={"stop_reason": path}), likely=False)


def _tail(body: bytes) -> bytes:
    """The last events of a body."""
    if len(body) <= _TAIL:
        return body
    begin = len(body) - _TAIL
    end = _EVENT_END.search(body, begin) or re.compile(rb"\n").search(body, begin)
    return body[end.end() if end else begin :]


def model_unsaid(probe: Probe) -> bool:
    """Whether the request asked for the model of the reference server, since nobody named one."""
    if probe.target.model != Target().model or probe.site.request_format.content_type is None:
        return False
    return probe.site.request_format.json(probe.prompt).get("model") == probe.target.model


def model_comment(probe: Probe) -> str:
    """In place of the model in a config that is written, if nobody named one; "" otherwise."""
    if not model_unsaid(probe):
        return ""
    name = answered_as(probe)
    if name == probe.target.model:
        return ""
    told = "" if name is None else f", and the server answered as {json.dumps(name)}"
    return f'# model = "…"  # nobody named one, so that {json.dumps(probe.target.model)} was asked for{told}\n'


def answered_as(probe: Probe) -> str | None:
    """The name of the model that the server says has answered."""
    sample = Sample(probe.body, probe.headers)
    found: Iterator[Any] = (at(table, path) for table in sample.tables[:20] for path in _MODELS)
    name = next((each for each in found if isinstance(each, str) and each), None)
    return None if name is None else line(probe.secret.blotted(name), 100)


def _model(probe: Probe) -> Iterator[Advice]:
    name = answered_as(probe) if probe.asked and model_unsaid(probe) else None
    if name is not None and name != probe.target.model:
        yield Advice(
            f'No model was named, so that "{probe.target.model}" was asked for; the server answered as this one. Name '
            "the one that you mean:",
            lines.target(model=name),
            likely=False,
        )
