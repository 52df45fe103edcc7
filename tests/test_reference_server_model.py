import math
from dataclasses import replace

import numpy as np
import pytest

from reference_server import prose
from reference_server.model import PRESETS, SETTINGS, Ask, Shape, overridden, plan

VARIED = Shape(ttft=300_000_000, prefill=0, itl=20_000_000, spread=0.5, pauses=0, tokens=(50, 150), seed=7)


def test_the_same_seed_and_prompt_give_the_same_plan() -> None:
    assert plan(VARIED, Ask("How high is the water?")) == plan(VARIED, Ask("How high is the water?"))


def test_another_seed_or_another_prompt_gives_another_plan() -> None:
    first = plan(VARIED, Ask("How high is the water?"))
    assert plan(replace(VARIED, seed=8), Ask("How high is the water?")).due != first.due
    assert plan(VARIED, Ask("How low is the water?")).due != first.due


def test_a_prompt_asked_again_gets_the_same_answer_at_another_pace() -> None:
    first, again = (plan(VARIED, Ask("How high is the water?"), occasion=occasion) for occasion in (1, 2))
    assert again.steps == first.steps
    assert again.due != first.due


def test_without_spread_every_token_is_due_exactly_on_the_grid() -> None:
    exact = plan(PRESETS["exact"], Ask("anything"))
    assert exact.due == [200_000_000 + k * 20_000_000 for k in range(100)]


def test_due_times_only_grow() -> None:
    due = plan(VARIED, Ask("a prompt")).due
    assert due == sorted(due)


def test_waits_have_the_mean_and_the_variation_that_were_asked_for() -> None:
    shape = replace(VARIED, tokens=(50_000, 50_000))
    gaps = np.diff(plan(shape, Ask("long")).due)
    # Four standard errors of 50,000 draws: 0.9 % for the mean, some 3 % for the variation of a log-normal.
    assert gaps.mean() == pytest.approx(shape.itl, rel=0.01)
    assert gaps.std() / gaps.mean() == pytest.approx(shape.spread, rel=0.04)
    firsts = np.array([plan(replace(shape, tokens=(1, 1)), Ask(f"prompt {k}")).due[0] for k in range(4_000)])
    assert firsts.mean() == pytest.approx(shape.ttft, rel=4 * shape.spread / math.sqrt(4_000))


def test_lengths_stay_in_their_range_and_reach_both_ends() -> None:
    lengths = {len(plan(replace(VARIED, tokens=(3, 5)), Ask(f"prompt {k}")).texts) for k in range(100)}
    assert lengths == {3, 4, 5}


@pytest.mark.parametrize(("limit", "tokens", "capped"), [(10, 10, True), (100, 100, False), (1000, 100, False)])
def test_a_requests_limit_cuts_the_answer_and_nothing_else(limit: int, tokens: int, capped: bool) -> None:
    shape = replace(VARIED, tokens=(100, 100))
    whole, cut = plan(shape, Ask("prompt")), plan(shape, Ask("prompt", limit))
    assert (len(cut.texts), cut.capped) == (tokens, capped)
    assert cut.texts == whole.texts[:tokens]
    assert cut.due == whole.due[:tokens]


def test_no_token_of_the_vocabulary_is_a_control_event_of_the_plain_dialect() -> None:
    tokens = [token for paragraph in prose.PARAGRAPHS for token in paragraph]
    assert all(tokens)
    assert not [token for token in tokens if token.lstrip().startswith("{") or token.strip() == "[DONE]"]


def test_the_vocabulary_has_markdown_line_breaks_and_characters_of_several_bytes() -> None:
    text = "".join(token for paragraph in prose.PARAGRAPHS for token in paragraph)
    assert "```python\n" in text
    assert "\n\n" in text
    assert {len(character.encode()) for character in text} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ttft", "200ms", 200_000_000),
        ("ttft", "1.5s", 1_500_000_000),
        ("itl", "500us", 500_000),
        ("itl", "0ms", 0),
        ("spread", "0.4", 0.4),
        ("tokens", "100", (100, 100)),
        ("tokens", "60-240", (60, 240)),
        ("seed", "42", 42),
    ],
)
def test_a_setting_is_read_from_text(name: str, text: str, value: object) -> None:
    assert SETTINGS[name](text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ttft", "200"),
        ("ttft", "-1s"),
        ("ttft", "11m"),
        ("itl", "1 hour"),
        ("spread", "wide"),
        ("spread", "nan"),
        ("spread", "6"),
        ("tokens", "0"),
        ("tokens", "9-3"),
        ("tokens", "many"),
        ("seed", "-1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        SETTINGS[name](text)


def test_settings_replace_only_what_they_name() -> None:
    assert overridden(PRESETS["haiku"], {"itl": 5}) == replace(PRESETS["haiku"], itl=5)
