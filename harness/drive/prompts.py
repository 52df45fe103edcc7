"""Prompts: the shipped sets, and prompt files of your own. Reads files; sends nothing.

A prompt file is JSON Lines, one prompt per line; empty lines are skipped:
    {"prompt": "How long do eggs keep?"}
    {"system": "Answer in French.", "messages": [{"role": "user", "content": "…"}], "max_tokens": 200}
    {"prompt": "How long do eggs keep?", "body": {"temperature": 0}}
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import msgspec

from streamgauge.harness.config.contents import contents
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed

_MOST_BYTES = 64 * 2**20  # of a file
_DATA = Path(__file__).parent / "prompt_data"

# Name of a set → its files in prompt_data. "chat" mixes the lengths that people send to an assistant: 40 % are one
# line, a third are a task in a paragraph, a quarter include a pasted document of about 2,000 characters.
SETS = {
    "chat": ("short", "medium", "long"),
    "short": ("short",),
    "medium": ("medium",),
    "long": ("long",),
}


_SENTENCE = "The level rises slowly until noon, then it falls again as before; you can see that at the old bridge. "


class Prompt(msgspec.Struct, frozen=True):
    messages: tuple[tuple[str, str], ...]  # (role, text), oldest first; the last one is the question
    system: str | None = None
    max_tokens: int | None = None  # None: the target's own setting
    cached: bool = False  # mark the system prompt for the server's prompt cache, if the protocol can
    goes_on: bool = False  # a turn of a conversation: mark the last two questions for the cache as well
    tools: tuple[str, ...] = ()  # names of tools that the server knows: it runs them itself, or ends with a tool call
    streamed: bool = True  # False: ask for the answer in one piece
    body: bytes = b""  # a JSON object that is merged into the request's body; b"": none
    conversation: str | None = None  # an id for the server; None: it is told none


def ask(text: str) -> Prompt:
    """A single question without history."""
    return Prompt((("user", text),))


def handbook() -> str:
    """A system prompt that is long enough for prompt caches: rules and a directory, about 2,500 tokens."""
    return (_DATA / "handbook.txt").read_text(encoding="utf-8")


def fingerprint(name: str) -> str:
    """The prompts' entry in a run's fingerprint: the set's name, or the file's name and a digest of its content."""
    if name in SETS:
        return name
    path = Path(name)
    return f"{path.name}#{sha256(contents(path, _MOST_BYTES)).hexdigest()[:12]}"


def found(name: str, folders: Iterable[Path]) -> str:
    """The name of a set, or the path of a file: in the working directory, else in the first of `folders` with it."""
    if name in SETS or Path(name).exists():
        return name
    beside = (folder / name for folder in folders)
    return next((str(path) for path in beside if path.is_file()), name)


def load(name: str) -> tuple[Prompt, ...]:
    """The prompts of a shipped set or of the file at that path. ScenarioError if there is none or a line is wrong."""
    if name in SETS:
        return tuple(prompt for file in SETS[name] for prompt in _read(_DATA / f"{file}.jsonl"))
    path = Path(name)
    if not path.exists():
        raise ScenarioError(f"{name!r}: no such set of prompts and no such file; the sets are {listed(name, SETS)}")
    return _read(path)


def choose(prompts: tuple[Prompt, ...], random: Random) -> Prompt:
    """A user's next prompt, drawn uniformly: the same seed gives the same sequence."""
    return random.choice(prompts)


def conversation(
    prompts: tuple[Prompt, ...],
    random: Random,
    turns: tuple[int, int],
    last_answer: Callable[[], str] | None = None,
) -> Iterator[Prompt]:
    """One person's questions, each with the history before it. The number of turns is drawn from `turns`, inclusive.

    The answers in the history are invented, with a random length; they are not the server's. So the same seed sends the
    same requests, and each request begins with the bytes of the one before, which a prompt cache needs. With
    `last_answer`, they are what it returns: the server's own. One that is empty is still invented.
    """
    first = choose(prompts, random)
    history = first.messages
    for number in range(random.randint(*turns)):
        if number:
            invented = _made_up_answer(random)  # drawn in any case, so that both kinds ask the same questions
            said = last_answer() if last_answer is not None else ""
            history += (("assistant", said or invented), choose(prompts, random).messages[-1])
        yield Prompt(history, first.system, first.max_tokens, goes_on=True, body=first.body)


def _made_up_answer(random: Random) -> str:
    """Text of a typical answer's length: about 40 to 300 tokens."""
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
    body: dict[str, Any] = {}


def _read(path: Path) -> tuple[Prompt, ...]:
    try:
        lines = contents(path, _MOST_BYTES).split(b"\n")
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be read: {fault.strerror}") from None
    prompts = tuple(_prompt(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if not prompts:
        raise ScenarioError(f'{path}: holds no prompts; write one per line, as in {{"prompt": "…"}}')
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
    return Prompt(turns, line.system, line.max_tokens, body=msgspec.json.encode(line.body) if line.body else b"")
