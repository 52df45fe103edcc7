"""Translates a question of any dialect into the body of an Anthropic Messages request. Pure.

A question in that dialect is passed on unchanged, unknown fields included, except for this server's own tools: the
upstream does not know them, so it gets them as tools of a client. A question that uses anything without a counterpart
in Anthropic's API is refused (`dialects.question.refuse`).
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

from streamgauge.reference_server.dialects.ag_ui import RunQuestion
from streamgauge.reference_server.dialects.ai_sdk import UiQuestion
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.gemini import GeminiQuestion
from streamgauge.reference_server.dialects.ollama import OllamaQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion, NamedTool
from streamgauge.reference_server.dialects.openai_chat import Message as ChatMessage
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question, refuse
from streamgauge.reference_server.model.tools import TOOLS

Body = dict[str, Any]

_MOST_TOKENS = 4096  # if the question sets no limit; Anthropic's API requires one
_CACHED = {"cache_control": {"type": "ephemeral"}}
# The model decides how much it thinks. Unlike the API's default, `summarized` lets the client see it.
_THINKING = {"thinking": {"type": "adaptive", "display": "summarized"}}
_EFFORTS = {"minimal": "low"}  # the other efforts have the same name
_DATA_URL = re.compile(r"data:(image/[a-z+.-]+);base64,(.*)", re.DOTALL)


def server_tools(question: Question) -> set[str]:
    """The names of the tools that this server runs for the question."""
    match question:
        case MessagesQuestion():
            return {tool.name for tool in question.tools if tool.type != "custom"}
        case PlainQuestion():
            return set(question.tools)
        case UiQuestion():
            return {tool.name for tool in question.tools}
    return set()


def body(question: Question, sent: Body, model: str) -> Body:
    """The body for the upstream. `sent`: the body as it came; `model`: the model to ask, "" for the question's own."""
    match question:
        case MessagesQuestion():
            asked = _messages(sent)
        case ChatQuestion():
            asked = _chat(question)
        case ResponsesQuestion() | OllamaQuestion() | GeminiQuestion():
            asked = _chat(question.as_chat())
        case RunQuestion():
            asked = _chat(question.as_chat()) | {"model": None}
        case PlainQuestion():
            asked = _plain(question)
        case UiQuestion():
            asked = _plain(question.as_plain())
        case _:
            raise TypeError(f"{type(question).__name__} has no translation")
    asked["model"] = model or asked.get("model")
    if not asked["model"]:
        refuse("the question names no model: start the server with --upstream-model")
    return asked


# Anthropic Messages


def _messages(sent: Body) -> Body:
    asked = {name: value for name, value in sent.items() if name != "stream" and value is not None}
    if "tools" in asked:
        asked["tools"] = [_offered(tool) for tool in asked["tools"]]
    return {**asked, "messages": list(_as_turns(asked["messages"]))}


def _offered(tool: Body) -> Body:
    kept = {"cache_control": tool["cache_control"]} if "cache_control" in tool else {}
    return {**definition(tool["name"]), **kept} if tool.get("type", "custom") != "custom" else tool


def definition(name: str) -> Body:
    """One of this server's tools, in the form of a client's tool."""
    tool = TOOLS[name]
    return {"name": name, "description": tool.description, "input_schema": tool.schema}


def _as_turns(messages: list[Body]) -> Iterator[Body]:
    """Split answers in which this server ran tools into the turns that the upstream saw."""
    results: list[Body] = []  # the next user turn begins with these
    for message in messages:
        content = message["content"]
        if isinstance(content, str) and not results:
            yield message
            continue
        kept: list[Body] = []
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if _is_result(block):
                results.append(_result(block))
                continue
            if results and message["role"] == "assistant" and block["type"] not in {"tool_use", "server_tool_use"}:
                yield {"role": "assistant", "content": kept}
                yield {"role": "user", "content": results}
                kept, results = [], []
            kept.append(_use(block))
        if message["role"] == "user":
            kept, results = results + kept, []
        yield {**message, "content": kept}
    if results:
        yield {"role": "user", "content": results}


def _is_result(block: Body) -> bool:
    kind: str = block["type"]
    return kind.endswith("_tool_result") and kind.removesuffix("_tool_result") in TOOLS


def _result(block: Body) -> Body:
    found = block["content"] if isinstance(block["content"], dict) else {}
    text = found.get("text", found.get("error_message", json.dumps(block["content"])))
    return {
        "type": "tool_result",
        "tool_use_id": _client_id(block["tool_use_id"]),
        "content": str(text),
        "is_error": str(found.get("type")).endswith("_error"),
    }


def _use(block: Body) -> Body:
    if block["type"] != "server_tool_use" or block["name"] not in TOOLS:
        return block
    return {**block, "type": "tool_use", "id": _client_id(block["id"])}


def _client_id(id: str) -> str:
    return f"toolu_{id.removeprefix('srvtoolu_')}"


# OpenAI chat completions


def _chat(question: ChatQuestion) -> Body:
    effort = question.reasoning_effort
    system = [text for message in question.messages if _is_system(message.role) for text in _texts(message.content)]
    return {
        "model": question.model,
        "max_tokens": question.max_completion_tokens or question.max_tokens or _MOST_TOKENS,
        "messages": list(_chat_turns(question.messages)),
        **_cached_system(system),
        **_chat_tools(question),
        **(
            {"stop_sequences": stop}
            if (stop := [question.stop] if isinstance(question.stop, str) else question.stop)
            else {}
        ),
        **({"temperature": min(question.temperature, 1)} if question.temperature is not None else {}),
        **(
            {**_THINKING, "output_config": {"effort": _EFFORTS.get(effort, effort)}}
            if effort not in {None, "none"}
            else {}
        ),
    }


def _chat_tools(question: ChatQuestion) -> Body:
    if not question.tools:
        return {}
    tools = []
    for tool in question.tools:
        schema = tool.function.parameters or {"type": "object", "properties": {}}
        tools.append({"name": tool.function.name, "description": tool.function.description, "input_schema": schema})
    choice = question.tool_choice
    if isinstance(choice, NamedTool):
        return {"tools": tools, "tool_choice": {"type": "tool", "name": choice.function.name}}
    return {"tools": tools, "tool_choice": {"type": "any" if choice == "required" else choice}}


def _chat_turns(messages: list[ChatMessage]) -> Iterator[Body]:
    """The conversation without its system messages, those of one side that follow each other as one turn."""
    turn: Body = {}
    for place, message in enumerate(messages):
        if _is_system(message.role):
            continue
        content = list(_chat_content(message, f"messages.{place}"))
        role = "assistant" if message.role == "assistant" else "user"
        if turn.get("role") == role:
            turn["content"] += content
            continue
        if turn.get("content"):
            yield turn
        turn = {"role": role, "content": content}
    if turn.get("content"):
        yield turn


def _chat_content(message: ChatMessage, place: str) -> Iterator[Body]:
    if message.role == "tool":
        result = "\n".join(_texts(message.content))
        yield {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": result}
        return
    for part in (
        [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content or []
    ):
        match part:
            case {"type": "text", "text": str(text)}:
                if text:
                    yield {"type": "text", "text": text}
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield {"type": "image", "source": _image(url, place)}
            case _:
                refuse(f"{place}: content of type {part.get('type')!r} has no counterpart upstream")
    for call in message.tool_calls:
        yield {
            "type": "tool_use",
            "id": call.id,
            "name": call.function.name,
            "input": _arguments(call.function.arguments, place),
        }


def _image(url: str, place: str) -> Body:
    found = _DATA_URL.fullmatch(url)
    if not found:
        return {"type": "url", "url": url}
    try:
        base64.b64decode(found[2], validate=True)
    except binascii.Error:
        refuse(f"{place}: the image is not base64")
    return {"type": "base64", "media_type": found[1], "data": found[2]}


def _arguments(text: str, place: str) -> Body:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        refuse(f"{place}: the arguments of a tool call are not a JSON object")
    return found


# Plain SSE


def _plain(question: PlainQuestion) -> Body:
    system = [question.system] if question.system else []
    turns = []
    for message in question.messages:
        texts = list(_texts(message.content))
        if message.role == "system":
            system += texts
        elif texts:
            turns.append({"role": message.role, "content": [{"type": "text", "text": text} for text in texts]})
    return {
        "max_tokens": question.max_tokens or _MOST_TOKENS,
        "messages": turns,
        **_cached_system(system),
        **({"tools": [definition(name) for name in question.tools]} if question.tools else {}),
        **({"stop_sequences": question.stop} if question.stop else {}),
        **(_THINKING if question.thinking else {}),
    }


# OpenAI and plain SSE


def _is_system(role: str) -> bool:
    return role in {"system", "developer"}


def _texts(content: str | list[dict[str, Any]] | None) -> Iterator[str]:
    for part in [{"text": content}] if isinstance(content, str) else content or []:
        if isinstance(text := part.get("text"), str) and text:
            yield text


def _cached_system(system: list[str]) -> Body:
    """Cache marks for dialects that have none: after the system prompt and after the whole prompt."""
    blocks: list[Body] = [{"type": "text", "text": text} for text in system]
    return {**_CACHED, "system": [*blocks[:-1], {**blocks[-1], **_CACHED}]} if blocks else {**_CACHED}
