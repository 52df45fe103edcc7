"""What is asked: the shipped sets, a user's own file, and the one line that says what is wrong with it."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from streamgauge.harness.drive.prompts import (
    SETS,
    Prompt,
    ask,
    choose,
    conversation,
    fingerprint,
    found,
    handbook,
    load,
)
from streamgauge.harness.errors import ScenarioError


@pytest.mark.parametrize("name", SETS)
def test_every_shipped_set_exists_and_its_prompts_end_with_a_question(name: str) -> None:
    prompts = load(name)
    assert len(prompts) >= 10
    assert len(set(prompts)) == len(prompts)
    assert all(prompt.messages[-1][0] == "user" for prompt in prompts)


def test_the_default_set_has_questions_of_every_length_and_bytes_beyond_ascii() -> None:
    texts = [prompt.messages[0][1] for prompt in load("chat")]
    assert {len(text) > 1000 for text in texts} == {True, False}
    assert min(map(len, texts)) < 80
    assert any(not text.isascii() for text in texts)
    assert set(load("chat")) == {prompt for name in ("short", "medium", "long") for prompt in load(name)}


def test_the_shipped_system_prompt_is_long_enough_for_a_prompt_cache() -> None:
    assert len(handbook()) > 1_024 * 4 * 2  # twice what real services cache at the least, by 4 characters a token


def test_a_users_file_holds_questions_and_conversations(tmp_path: Path) -> None:
    path = tmp_path / "ours.jsonl"
    path.write_text(
        '{"prompt": "Grüße 😀"}\n'
        "\n"
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},'
        ' {"role": "user", "content": "And now?"}], "system": "Be brief.", "max_tokens": 9}',
        encoding="utf-8",
    )
    assert load(str(path)) == (
        ask("Grüße 😀"),
        Prompt((("user", "Hi"), ("assistant", "Hello"), ("user", "And now?")), "Be brief.", 9),
    )


def test_the_error_for_an_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match="'chatt': no such set of prompts and no such file; the sets are chat,"):
        load("chatt")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"What?", "ours.jsonl:2: JSON is malformed"),
        (b'{"promt": "What?"}', "ours.jsonl:2: .*unknown field `promt`"),
        (b'{"prompt": ""}', "ours.jsonl:2: .*length >= 1"),
        (b"{}", 'ours.jsonl:2: give either "prompt" or "messages"'),
        (b'{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}', 'ours.jsonl:2: give either "prompt" or'),
        (b'{"messages": [{"role": "system", "content": "a"}]}', "ours.jsonl:2: Invalid enum value 'system'"),
        (
            b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
            "must be the user's",
        ),
        (b'{"prompt": "a", "max_tokens": 0}', "ours.jsonl:2: .*`int` >= 1"),
        (b'{"prompt": "\xff"}', "ours.jsonl:2: .*can't decode byte"),
        (b"[" * 100_000, "ours.jsonl:2: "),
    ],
)
def test_the_error_for_a_bad_line_names_file_and_line(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "ours.jsonl"
    path.write_bytes(b'{"prompt": "fine"}\n' + line + b"\n")
    with pytest.raises(ScenarioError, match=fault) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_without_prompts_says_how_to_write_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"\n\n")
    with pytest.raises(ScenarioError, match="holds no prompts; write one per line"):
        load(str(path))


def test_the_same_seed_asks_the_same_questions() -> None:
    prompts = load("chat")
    one, other = Random(7), Random(7)
    assert [choose(prompts, one) for _ in range(50)] == [choose(prompts, other) for _ in range(50)]


def test_each_question_of_a_conversation_includes_the_history_before_it() -> None:
    prompts = load("medium")
    for seed in range(50):
        asked = list(conversation(prompts, Random(seed), (2, 6)))
        assert 2 <= len(asked) <= 6
        for before, after in pairwise(asked):
            assert after.messages[: len(before.messages)] == before.messages
            assert [role for role, _ in after.messages[len(before.messages) :]] == ["assistant", "user"]


def test_the_same_seed_has_the_same_conversations() -> None:
    prompts = load("chat")
    assert list(conversation(prompts, Random(3), (2, 6))) == list(conversation(prompts, Random(3), (2, 6)))


def test_the_fingerprint_of_a_prompt_file_follows_from_its_content(tmp_path: Path) -> None:
    first, copy, other = tmp_path / "mine.jsonl", tmp_path / "elsewhere" / "mine.jsonl", tmp_path / "other.jsonl"
    copy.parent.mkdir()
    for path in (first, copy):
        path.write_text('{"prompt": "How long do eggs keep?"}')
    other.write_text('{"prompt": "How long does milk keep?"}')
    assert fingerprint("chat") == "chat"
    assert fingerprint(str(first)) == fingerprint(str(copy)) != fingerprint(str(other))


def test_a_prompt_file_is_found_beside_the_scenario_unless_the_working_directory_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 17, 15."""
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (here, beside):
        folder.mkdir()
    monkeypatch.chdir(here)
    (beside / "mine.jsonl").write_text('{"prompt": "beside?"}')
    assert found("mine.jsonl", [beside]) == str(beside / "mine.jsonl")
    (here / "mine.jsonl").write_text('{"prompt": "here?"}')
    assert found("mine.jsonl", [beside]) == "mine.jsonl"
    assert found("chat", [beside]) == "chat"
    assert found("nowhere.jsonl", [beside]) == "nowhere.jsonl"
