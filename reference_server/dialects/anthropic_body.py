"""The body of Anthropic Messages: its parts, and the rules for how they fit together.

Refusals use the API's own sentences if we know them, because people search for those.
"""

import base64
import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from streamgauge.reference_server.dialects.events import encode
from streamgauge.reference_server.dialects.question import refuse
from streamgauge.reference_server.model import tools


class CacheControl(BaseModel):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Cacheable(BaseModel):
    cache_control: CacheControl | None = None


class TextBlock(Cacheable):
    type: Literal["text"]
    text: str = Field(min_length=1)


class MediaBlock(Cacheable):
    type: Literal["image", "document"]
    source: dict[str, Any]


class ToolUseBlock(Cacheable):
    type: Literal["tool_use", "server_tool_use"]
    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    input: dict[str, Any]


class ToolResultBlock(Cacheable):
    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1)
    content: "Content" = []
    is_error: bool = False


class ServerToolResultBlock(Cacheable):
    type: str
    tool_use_id: str = Field(min_length=1)
    content: Any


class ThinkingBlock(BaseModel):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlock(BaseModel):
    type: Literal["redacted_thinking"]
    data: str


def _tag(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else getattr(block, "type", None)
    if not isinstance(kind, str):
        return None
    if kind in {"image", "document"}:
        return "media"
    if kind.endswith("_tool_result"):
        return "server_tool_result"
    return "tool_use" if kind == "server_tool_use" else kind


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[MediaBlock, Tag("media")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[ServerToolResultBlock, Tag("server_tool_result")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")],
    Discriminator(_tag, custom_error_type="unknown_block", custom_error_message="there is no content of this type"),
]


def _as_blocks(content: Any) -> Any:
    """A string stands for one block of text, an empty string for none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


Content = Annotated[list[Block], BeforeValidator(_as_blocks, json_schema_input_type=str | list[Block])]


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: Content

    def results(self) -> set[str]:
        """The ids of the tool uses whose results this message brings."""
        return {block.tool_use_id for block in self.content if isinstance(block, ToolResultBlock)}

    def uses(self) -> set[str]:
        """The ids of the tool uses whose results the client must send."""
        return {block.id for block in self.content if isinstance(block, ToolUseBlock) and block.type == "tool_use"}


class Tool(Cacheable):
    type: str = "custom"
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")
    description: str = ""
    input_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _known(self) -> "Tool":
        if self.type == "custom":
            if self.input_schema is None or self.input_schema.get("type") != "object":
                refuse("input_schema: a JSON Schema of type 'object' is required")
        elif self.name not in tools.TOOLS or not self.type.startswith(self.name):
            refuse(f"no tool called {self.name!r} of type {self.type!r}; there are {', '.join(tools.TOOLS)}")
        return self


class ToolChoice(BaseModel):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Thinking(BaseModel):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = Field(default=None, ge=1024)


def signature(thought: str) -> str:
    """Proves that a thought which a later request brings back is unchanged."""
    return base64.b64encode(hashlib.blake2b(thought.encode("utf-8", "surrogatepass"), digest_size=48).digest()).decode()


def has_cache_mark(block: Block) -> bool:
    return isinstance(block, Cacheable) and block.cache_control is not None


def text_of(block: Block) -> str:
    """The text of a block as the model reads it. The model does not read earlier thoughts again."""
    match block:
        case TextBlock():
            return block.text
        case ToolUseBlock():
            return encode(block.input).decode()
        case ToolResultBlock():
            return "\n".join(text_of(part) for part in block.content)
        case ServerToolResultBlock():
            return encode(block.content).decode()
        case MediaBlock():
            text = block.source.get("data") if block.source.get("type") == "text" else None
            return text if isinstance(text, str) else ""
    return ""


_Turn = tuple[str, set[str], set[str]]  # role, tool results, tool uses
_END: _Turn = ("", set(), set())
_ROLES = {"tool_result": "user", "tool_use": "assistant", "server_tool_use": "assistant", "thinking": "assistant"}


def _turns(messages: list[Message]) -> list[_Turn]:
    """Consecutive messages of one role form one turn."""
    turns: list[_Turn] = []
    for message in messages:
        if not turns or turns[-1][0] != message.role:
            turns.append((message.role, set(), set()))
        turns[-1][1].update(message.results())
        turns[-1][2].update(message.uses())
    return turns


def check_turns(messages: list[Message]) -> None:
    if messages[0].role != "user":
        refuse('messages: first message must use the "user" role')
    for place, message in enumerate(messages):
        if not message.content and (message.role == "user" or message is not messages[-1]):
            refuse(
                f"messages.{place}: all messages must have non-empty content except for "
                "the optional final assistant message"
            )
        for at, block in enumerate(message.content):
            if _ROLES.get(block.type, message.role) != message.role:
                refuse(f"messages.{place}.content.{at}: `{block.type}` blocks may not be in `{message.role}` messages")
    expected: set[str] = set()  # the tool uses of the turn before
    for _, results, uses in [*_turns(messages), _END]:
        if unexpected := results - expected:
            refuse(
                f"messages: unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(sorted(unexpected))}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if missing := expected - results:
            refuse(
                "messages: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(missing))}."
            )
        expected = uses


def check_thoughts(messages: list[Message]) -> None:
    """Refuse a thought that the simulated model did not write. A real model checks its own."""
    for place, message in enumerate(messages):
        for at, block in enumerate(message.content):
            if isinstance(block, ThinkingBlock) and block.signature != signature(block.thinking):
                refuse(f"messages.{place}.content.{at}: Invalid `signature` in `thinking` block")


def check_tools(offered: list[Tool], choice: ToolChoice | None) -> None:
    names = [tool.name for tool in offered]
    if len(set(names)) < len(names):
        refuse("tools: Tool names must be unique.")
    if choice is None:
        return
    if not names:
        refuse("tool_choice may only be specified while providing tools")
    if choice.type == "tool" and choice.name not in names:
        refuse(f"Tool {choice.name!r} not found in provided tools")


def tool_rounds(messages: list[Message]) -> int:
    """How many rounds of tool results came since the person's last message."""
    count = 0
    for role, results, _ in _turns(messages):
        if role == "user":
            count = count + 1 if results else 0
    return count
