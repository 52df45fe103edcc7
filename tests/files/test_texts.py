"""Columns of texts as codes say the same as the texts themselves."""

from random import Random

import numpy as np
import pytest

from streamgauge.harness.judge.store import Texts, combinations


def _columns(random: Random) -> list[list[str]]:
    count = random.choice((0, 1, 7, 300))
    return [[random.choice("abcdefgh"[: random.randint(1, 8)]) for _ in range(count)] for _ in range(3)]


@pytest.mark.parametrize("seed", range(20))
def test_a_column_of_codes_is_read_like_a_list(seed: int) -> None:
    random = Random(seed)
    plain, *_ = _columns(random)
    texts = Texts.of(plain)
    assert [*texts] == plain
    assert [texts[place] for place in range(len(texts))] == plain
    assert texts.are("b").tolist() == [text == "b" for text in plain]
    assert texts.among({"a", "c", "z"}).tolist() == [text in "ac" for text in plain]
    places = [random.randrange(len(plain)) for _ in range(random.choice((0, 2, 500)) if plain else 0)]
    chosen = texts.at(np.array(places, np.int64))
    assert [*chosen] == [plain[place] for place in places]
    assert chosen.are("b").tolist() == [plain[place] == "b" for place in places]
    assert [*texts.mapped(lambda text: "x" if text in "ab" else text)] == [
        "x" if text in "ab" else text for text in plain
    ]
    within = np.array([text != "a" for text in plain], bool)
    assert texts.counts(within) == {text: plain.count(text) for text in {*plain} - {"a"}}
    assert texts.counts(slice(3)) == {text: plain[:3].count(text) for text in {*plain[:3]}}


@pytest.mark.parametrize("seed", range(20))
def test_combinations_are_numbered_as_they_first_occur(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    plain = _columns(random)
    monkeypatch.setattr("streamgauge.harness.judge.store.texts._MOST_CODES", random.choice((1, 5, 10**6)))
    found, place = combinations([Texts.of(column) for column in plain])
    rows = [*zip(*plain, strict=True)]
    assert found == [*dict.fromkeys(rows)]
    assert [found[one] for one in place.tolist()] == rows
