"""Questions of other dialects in the words of chat completions, whose rules and translation then hold for them.

Their tool calls have no ids, or may have none: a result belongs to the oldest call of its name that has none.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import ValidationError

from streamgauge.reference_server.dialects.events import encode
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.question import MOST_TOOLS, refuse


class Conversation:
    """Messages of a chat question, put together one by one."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._open: list[tuple[str, str]] = []  # name and id of each call that has no result yet
        self._calls = 0

    def say(self, role: str, content: Any, calls: Iterable[tuple[str, dict[str, Any]]] = ()) -> None:
        """Add what one side says; `calls`: name and arguments of the tools that the assistant calls."""
        message = {"role": role, "content": content}
        if made := [self._called(name, arguments) for name, arguments in calls]:
            message["tool_calls"] = made
        self.messages.append(message)

    def answer(self, name: str | None, result: Any) -> None:
        """Add the result of a tool; without a name, of the oldest call that has none."""
        found = next((call for call in self._open if name in {None, call[0]}), None)
        if found is None:
            refuse(f"the result of {name or 'a tool'} belongs to no call before it")
        self._open.remove(found)
        content = result if isinstance(result, str) else encode(result).decode()
        self.messages.append({"role": "tool", "tool_call_id": found[1], "content": content})

    def _called(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if len(self._open) == MOST_TOOLS:
            refuse(f"more than {MOST_TOOLS} calls of tools have no result yet")
        self._calls += 1
        id = f"call_{self._calls}"
        self._open.append((name, id))
        return {
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": encode(arguments).decode()},
        }


def chat_question(stop: list[str], **fields: Any) -> ChatQuestion:
    """The chat question with these fields; None stands for one that is not set. Refused if it breaks a rule."""
    try:
        question = ChatQuestion.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    question.stop = stop or None  # not validated: the other dialects may have more of them
    return question


class CallInOnePiece:
    """Gathers the tokens of a tool's input, for dialects that have a call only as a whole."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, token: str) -> dict[str, Any] | None:
        """The input, if this token completes it."""
        self._text += token
        if not self._text.endswith("}"):
            return None
        try:
            found = msgspec.json.decode(self._text, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        self._text = ""
        return found
