"""A reference server in front of an upstream, and the questions that tests send it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.support.reference import ReferenceServer, reference_server

KEY = "sk-the-upstreams-own"
PROMPT = "What does a gauge do?"
QUESTION: Any = {"model": "reference", "max_tokens": 2000, "messages": [{"role": "user", "content": PROMPT}]}


@contextlib.contextmanager
def in_front_of(url: str, *args: str) -> Iterator[ReferenceServer]:
    words = ("--upstream", "anthropic", "--upstream-url", url, *args)
    with reference_server(*words, environment={"ANTHROPIC_API_KEY": KEY}) as running:
        yield running


LONG = QUESTION | {"max_tokens": 10_000, "stream": True}
