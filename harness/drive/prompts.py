"""What is asked: the shipped sets of prompts, and a user's own file. Reads files; sends nothing.

A file is JSON Lines, one prompt a line, empty lines skipped:
    {"prompt": "How long do eggs keep?"}
    {"system": "Answer in French.", "messages": [{"role": "user", "content": "…"}], "max_tokens": 200}
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Annotated, Literal

import msgspec

from streamgauge.harness.errors import ScenarioError

_DATA = Path(__file__).parent / "prompt_data"

# Set → its files, in harness/drive/prompt_data. "chat" mixes the lengths that people send to an assistant: two in five
# are a line, a third a task in a paragraph, a quarter come with a document of some 2,000 characters pasted in.
SETS = {
    "chat": ("short", "medium", "long"),
    "short": ("short",),
    "medium": ("medium",),
    "long": ("long",),
}


_SENTENCE = "The level rises slowly until noon, then it falls again as before; you can see that at the old bridge. "


class Prompt(msgspec.Struct, frozen=True):
    messages: tuple[tuple[str, str], ...]  # (role, text) from the first turn to the one to be answered
    system: str | None = None
    max_tokens: int | None = None  # None: as the target says
    cached: bool = False  # the system prompt is marked for the server's prompt cache, where the protocol has such marks
    goes_on: bool = (
        False  # a turn of a conversation: so are its last two questions, to find what the one before left there
    )
    tools: tuple[str, ...] = ()  # names of tools that the server has: it runs them itself, or ends with a call
    streamed: bool = True  # False: the answer in one piece


def ask(text: str) -> Prompt:
    """A single question, without a history."""
    return Prompt((("user", text),))


def handbook() -> str:
    """A system prompt of the length that a prompt cache is made for: some 2,500 tokens of rules and a directory."""
    return (_DATA / "handbook.txt").read_text(encoding="utf-8")


def fingerprint(name: str) -> str:
    """What must be equal for two runs to be comparable: a set's name, or what a file says, wherever it lies."""
    if name in SETS:
        return name
    path = Path(name)
    return f"{path.name}#{sha256(path.read_bytes()).hexdigest()[:12]}"


def load(name: str) -> tuple[Prompt, ...]:
    """A shipped set by its name, or else a file by its path. ScenarioError for what does not exist or is no prompt."""
    if name in SETS:
        return tuple(prompt for file in SETS[name] for prompt in _read(_DATA / f"{file}.jsonl"))
    path = Path(name)
    if not path.is_file():
        raise ScenarioError(f"{name!r}: no such set of prompts and no such file; the sets are {', '.join(SETS)}")
    return _read(path)


def choose(prompts: tuple[Prompt, ...], random: Random) -> Prompt:
    """The next prompt of a user: the same sequence for the same seed, each prompt equally often."""
    return random.choice(prompts)


def conversation(prompts: tuple[Prompt, ...], random: Random, turns: tuple[int, int]) -> Iterator[Prompt]:
    """One person's questions, each with all that was said before it: an even draw from `turns` of them.

    The answers in the history are stand-ins of a drawn length, not what the server said: so that the same seed asks the
    same, and each question begins with the very bytes of the one before, which is what a prompt cache looks at.
    """
    first = choose(prompts, random)
    history = first.messages
    for number in range(random.randint(*turns)):
        if number:
            history += (("assistant", _said(random)), choose(prompts, random).messages[-1])
        yield Prompt(history, first.system, first.max_tokens, goes_on=True)


def _said(random: Random) -> str:
    """As long as answers are: some 40 to 300 tokens."""
    begin = random.randrange(len(_SENTENCE))
    return (_SENTENCE * 14)[begin : begin + random.randint(160, 1200)]


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1)]


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    messages: list[_Message] = []
    system: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None


def _read(path: Path) -> tuple[Prompt, ...]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be read: {fault.strerror}") from None
    prompts = tuple(_prompt(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if not prompts:
        raise ScenarioError(f'{path}: holds no prompts; write one a line, as in {{"prompt": "…"}}')
    return prompts


def _prompt(text: bytes, place: str) -> Prompt:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ScenarioError(f"{place}: {str(fault)[:200]}") from None
    if (line.prompt is None) == (not line.messages):
        raise ScenarioError(f'{place}: give either "prompt" or "messages"')
    turns = tuple((turn.role, turn.content) for turn in line.messages) or (("user", line.prompt or ""),)
    if turns[-1][0] != "user":
        raise ScenarioError(f'{place}: the last of "messages" must be the user\'s')
    return Prompt(turns, line.system, line.max_tokens)
