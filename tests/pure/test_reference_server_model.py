import json
import math
from dataclasses import replace
from itertools import accumulate, groupby

import numpy as np
import pytest

from streamgauge.reference_server.model import prose
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.pace import slowdown
from streamgauge.reference_server.model.prompt_cache import PromptCache
from streamgauge.reference_server.model.script import Script, write_script
from streamgauge.reference_server.model.settings import MODEL_SETTINGS, PRESETS, ModelSettings
from streamgauge.reference_server.model.steps import Step, ToolCall

VARIED = ModelSettings(ttft=300_000_000, prefill=0, itl=20_000_000, spread=0.5, pauses=0, tokens=(50, 150), seed=7)


def due(script: Script) -> list[int]:
    """When each token is due, ns after the request."""
    return list(accumulate(script.waits))


def test_the_same_seed_and_prompt_give_the_same_script() -> None:
    assert write_script(VARIED, ModelInput("How high is the water?")) == write_script(
        VARIED, ModelInput("How high is the water?")
    )


def test_another_seed_or_another_prompt_gives_another_script() -> None:
    first = write_script(VARIED, ModelInput("How high is the water?"))
    assert due(write_script(replace(VARIED, seed=8), ModelInput("How high is the water?"))) != due(first)
    assert due(write_script(VARIED, ModelInput("How low is the water?"))) != due(first)


def test_a_repeated_prompt_gets_the_same_answer_at_another_pace() -> None:
    first, again = (
        write_script(VARIED, ModelInput("How high is the water?"), occasion=occasion) for occasion in (1, 2)
    )
    assert again.steps == first.steps
    assert due(again) != due(first)


def test_without_spread_every_token_is_due_exactly_on_the_grid() -> None:
    exact = write_script(PRESETS["exact"], ModelInput("anything"))
    assert due(exact) == [200_000_000 + k * 20_000_000 for k in range(100)]


def test_due_times_only_grow() -> None:
    times = due(write_script(VARIED, ModelInput("a prompt")))
    assert times == sorted(times)


def test_waits_have_the_mean_and_the_variation_that_were_asked_for() -> None:
    shape = replace(VARIED, tokens=(50_000, 50_000))
    gaps = np.diff(due(write_script(shape, ModelInput("long"))))
    # Four standard errors of 50,000 draws: 0.9 % for the mean, about 3 % for the variation of a log-normal.
    assert gaps.mean() == pytest.approx(shape.itl, rel=0.01)
    assert gaps.std() / gaps.mean() == pytest.approx(shape.spread, rel=0.04)
    firsts = np.array(
        [due(write_script(replace(shape, tokens=(1, 1)), ModelInput(f"prompt {k}")))[0] for k in range(4_000)]
    )
    assert firsts.mean() == pytest.approx(shape.ttft, rel=4 * shape.spread / math.sqrt(4_000))


def test_lengths_stay_in_their_range_and_reach_both_ends() -> None:
    lengths = {len(write_script(replace(VARIED, tokens=(3, 5)), ModelInput(f"prompt {k}")).steps) for k in range(100)}
    assert lengths == {3, 4, 5}


@pytest.mark.parametrize(("limit", "tokens", "capped"), [(10, 10, True), (100, 100, False), (1000, 100, False)])
def test_a_token_limit_cuts_the_answer_and_changes_nothing_else(limit: int, tokens: int, capped: bool) -> None:
    shape = replace(VARIED, tokens=(100, 100))
    whole, cut = write_script(shape, ModelInput("prompt")), write_script(shape, ModelInput("prompt", limit))
    assert (len(cut.steps), cut.stop_reason == "max_tokens") == (tokens, capped)
    assert cut.steps == whole.steps[:tokens]
    assert cut.waits == whole.waits[:tokens]


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
        ("prefill", "30us", 30_000),
        ("pauses", "0.001", 0.001),
        ("thinking", "0", (0, 0)),
        ("cached", "1", 1),
        ("capacity", "256", 256),
    ],
)
def test_a_setting_is_read_from_text(name: str, text: str, value: object) -> None:
    assert MODEL_SETTINGS[name](text) == value


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
        ("pauses", "1.5"),
        ("thinking", "-3"),
        ("tools", "some"),
        ("capacity", "999999"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MODEL_SETTINGS[name](text)


# The cost of a prompt, and the prompt cache


def test_the_first_token_waits_for_every_token_of_the_prompt_that_is_not_cached() -> None:
    shape = replace(PRESETS["exact"], prefill=1_000_000, cached=0.75)
    ask = ModelInput("x" * 4_000)
    assert due(write_script(shape, ask))[0] == 200_000_000 + 1_000 * 1_000_000
    assert due(write_script(shape, ask, cache=(800, 200)))[0] == 200_000_000 + (200 + 800 // 4) * 1_000_000
    assert np.diff(due(write_script(shape, ask))).max() == 20_000_000


LONG = ["a" * 5_000, "a" * 5_000 + "b" * 3_000]


def test_a_known_prefix_is_read_and_the_rest_is_written() -> None:
    cache = PromptCache()
    assert cache.use(LONG[:1], 0) == (0, 1_250)
    assert cache.use(LONG, 1) == (1_250, 750)
    assert cache.use(LONG, 2) == (2_000, 0)
    assert cache.use(["c" * 5_000], 3) == (0, 1_250)


def test_a_prefix_is_kept_for_five_minutes_after_its_last_use() -> None:
    cache, minute = PromptCache(), 60_000_000_000
    for at, read in ((0, 0), (4 * minute, 1_250), (8 * minute, 1_250), (13 * minute, 0)):
        assert cache.use(LONG[:1], at)[0] == read


def test_a_short_prefix_is_not_kept_and_the_least_recently_used_are_dropped() -> None:
    cache = PromptCache(entries=2)
    assert cache.use(["short"], 0) == cache.use(["short"], 1) == (0, 0)
    prompts = [[letter * 5_000] for letter in "xyz"]
    for prompt in (*prompts, prompts[1]):
        cache.use(prompt, 2)
    assert [cache.use(prompt, 3)[0] for prompt in (prompts[1], prompts[2], prompts[0])] == [1_250, 1_250, 0]


# Load


def test_waits_grow_above_half_of_the_capacity_up_to_twice_their_length() -> None:
    assert [slowdown(running, 100) for running in (0, 1, 50, 75, 100)] == [1, 1, 1, 1.5, 2]
    assert slowdown(10_000, 0) == 1


def test_long_pauses_are_as_many_and_as_long_as_asked_for() -> None:
    shape = replace(PRESETS["exact"], pauses=0.01, pause=1_000_000_000, tokens=(50_000, 50_000))
    gaps = np.diff(due(write_script(shape, ModelInput("long"))))
    assert set(gaps.tolist()) == {20_000_000, 1_000_000_000}
    # Four standard errors of 50,000 draws.
    assert (gaps > 20_000_000).mean() == pytest.approx(0.01, abs=4 * math.sqrt(0.01 / 50_000))


# The content of an answer


def kinds(steps: list[Step]) -> list[str]:
    """The kinds of the steps, consecutive equal ones once."""
    return [kind for kind, _ in groupby(steps, key=lambda step: step.kind)]


def test_the_model_thinks_if_the_request_or_the_settings_say_so() -> None:
    assert kinds(write_script(VARIED, ModelInput("why")).steps) == ["text"]
    asked = write_script(VARIED, ModelInput("why", thinking=True)).steps
    assert kinds(asked) == ["thinking", "text"]
    set_to = write_script(replace(VARIED, thinking=(5, 5)), ModelInput("why")).steps
    assert [step.kind for step in set_to[:6]] == ["thinking"] * 5 + ["text"]
    text = [step for step in asked if step.kind == "text"]
    assert text == write_script(VARIED, ModelInput("why")).steps


def test_the_model_uses_a_tool_as_often_as_the_settings_say_and_then_answers() -> None:
    offers = [ToolCall("1", "level", {"station": "Höfn"}), ToolCall("2", "convert", {"value": 3.5})]
    shape = replace(VARIED, tools=2)
    turns = [write_script(shape, ModelInput("how high", tools=offers, tool_results=turn)) for turn in range(3)]
    assert [turn.stop_reason for turn in turns] == ["tool_use", "tool_use", "end_turn"]
    assert [kinds(turn.steps) for turn in turns] == [["text", "tool_input"]] * 2 + [["text"]]
    pieces = [step for step in turns[0].steps if step.kind == "tool_input"]
    assert pieces[0].tool in offers
    assert json.loads("".join(step.text for step in pieces)) == pieces[0].tool.input
    assert write_script(replace(VARIED, tools=0), ModelInput("how high", tools=offers)).stop_reason == "end_turn"


@pytest.mark.parametrize("limit", [None, 40])
def test_a_stop_sequence_ends_the_answer_before_it(limit: int | None) -> None:
    whole = "".join(step.text for step in write_script(VARIED, ModelInput("why")).steps)
    sequence = whole[90:97]
    stopped = write_script(VARIED, ModelInput("why", limit, stop_sequences=["never said", sequence]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", sequence)
    assert "".join(step.text for step in stopped.steps) == whole[: whole.index(sequence)]
    assert len(stopped.waits) == len(stopped.steps)
