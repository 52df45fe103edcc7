"""What `try` says of streams that gateways and model servers get wrong, whether or not they can be read."""

import pytest

from streamgauge.harness.config.schema import Target
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import reread
from streamgauge.harness.probe.events import taken
from streamgauge.harness.probe.remedies import remedies
from tests.support.corpus import streams

STREAMS = {stream.name: stream for stream in streams()}
OPENAI = Target(protocol="openai_chat")


def advice(name: str, target: Target | None = None) -> list[Advice]:
    """Of a stream of the corpus."""
    stream = STREAMS[name]
    probe = reread(stream.body, target or stream.target)
    return remedies(probe, taken(probe))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("data_twice", "wraps events that already were ones"),
        ("one_line_end_between_events", "Several events are one here"),
        ("rate_limit_then_done", "limits the rate"),
        ("qwen_limit", "limits the rate"),
        ("cumulative_deltas", "repeats all the text before it"),
        ("think_tags", "between tags"),
        ("keep_alives_and_end", "Only keep-alives came"),
    ],
)
def test_what_is_wrong_is_said_in_words_and_no_line_is_tried(name: str, says: str) -> None:
    (found,) = advice(f"openai_chat/{name}")
    assert says in found.says
    assert not found.lines


def test_raw_text_in_named_events_is_read_by_a_guess() -> None:
    found = advice("custom/replicate", OPENAI)
    assert found[0].likely
    assert 'end_event = "done"' in found[0].lines


@pytest.mark.parametrize("name", ["openai_chat/openai", "openai_chat/together", "openai_chat/two_markers"])
def test_nothing_is_said_of_a_usual_stream(name: str) -> None:
    assert [each for each in advice(name) if "No model was named" not in each.says] == []
