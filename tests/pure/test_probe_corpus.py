"""`try` on the corpus of other people's streams, whole and cut: it agrees with the record and never raises."""

import io
import re
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.harness.config.schema import Target
from streamgauge.harness.judge.outputs.rich_text import Console
from streamgauge.harness.probe import document, screen
from streamgauge.harness.probe.asking import reread
from streamgauge.harness.probe.formats import looks_like
from streamgauge.harness.probe.samples import Sample
from streamgauge.harness.probe.trying import Result, Try
from streamgauge.harness.record.observation import Outcome
from tests.support.corpus import Stream, streams

CORPUS = [stream for stream in streams() if stream.framing != "raw"]
TARGETS = [Target(protocol=name) for name in ("anthropic_messages", "openai_chat", "plain_sse")]


@cache
def tried() -> list[tuple[Stream, Try]]:
    return [(stream, read(stream.body, stream.target, stream.status, stream.headers)) for stream in CORPUS]


def read(body: bytes, target: Target, status: int = 200, headers: dict[str, str] | None = None) -> Try:
    probe = reread(body, target)
    probe.transcript.status, probe.transcript.headers = status, headers or {}
    return Try.of(probe)


def shown(made: Try) -> str:
    drawn = io.StringIO()
    screen.show(Result(made), Console(file=drawn, width=80), every=True)
    return drawn.getvalue() + document.document(Result(made))


def test_the_events_that_are_shown_are_those_of_the_record() -> None:
    for stream, made in tried():
        content = sum(event.content for event in made.events)
        assert content == (made.probe.seen.content_chunks if stream.status // 100 == 2 else 0), stream.name


def test_a_complete_stream_is_not_taken_for_one_of_another_format() -> None:
    complete = [(stream, made) for stream, made in tried() if stream.reading["outcome"] == "completed"]
    assert len(complete) > 50
    for stream, made in complete:
        found = looks_like(Sample(stream.body, {}))
        assert found is None or found.protocol == stream.target.protocol, stream.name
        assert made.completed == (made.probe.seen.outcome is Outcome.COMPLETED), stream.name


def test_no_stream_reaches_the_terminal_as_it_is() -> None:
    unprintable = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xff]|\\u")  # also as JSON writes it
    for stream, made in (each for each in tried() if unprintable.search(each[0].body)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown(made)), stream.name


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CORPUS), st.sampled_from(TARGETS), st.data())
def test_no_body_makes_it_raise_or_says_success_without_content(
    stream: Stream, target: Target, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(stream.body)))
    body = stream.body[:cut] + data.draw(st.binary(max_size=20)) + stream.body[data.draw(st.integers(0, cut)) :]
    made = read(body, target, data.draw(st.sampled_from([200, 204, 301, 400, 401, 404, 422, 500])))
    assert shown(made)
    assert not made.completed or made.probe.seen.content_chunks
