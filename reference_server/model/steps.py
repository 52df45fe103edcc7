"""What a model generates, step by step: tokens of text, thinking and tool input, and the runs of tools."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["thinking", "text", "tool_input", "tool_start", "tool_end", "signature", "redacted_thinking"]

# Steps of these kinds are not tokens.
NO_TOKENS = frozenset({"tool_start", "tool_end", "signature", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One use of a tool, as the model wrote it."""

    id: str  # letters and digits
    name: str
    input: dict[str, Any]
    result: str = ""  # after it has run
    failed: bool = False
    seconds: float = 0.0  # how long it ran
    client_side: bool = False  # the client runs it: the answer ends with the call


@dataclass(frozen=True, slots=True)
class Step:
    """What the model does next.

    `thinking`, `text`, `tool_input`   one generated token each, in `text`; the tokens of a tool's input, joined, are
                                       the JSON of `tool.input`
    `tool_start`, `tool_end`           the server starts to run `tool`; it has run
    `signature`                        ends a thought of a real model and proves that the model wrote it
    `redacted_thinking`                a thought that only the real model can read
    """

    kind: Kind
    text: str
    tool: ToolCall | None = None  # for the three kinds that begin with tool_
