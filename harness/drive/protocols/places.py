"""The values of the places in a request's template, such as `{messages}`: see `config.template`. Pure."""

from typing import Any

from streamgauge.harness.config import template
from streamgauge.harness.config.schema import Request, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.protocol import turns, undated


def values(target: Target, prompt: Prompt, shape: Request) -> dict[str, Any]:
    """By the names of the places; one without a value has no entry. `shape` says what messages and tools look like."""
    messages = _messages(turns(prompt), shape)
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    found = {
        "prompt": prompt.messages[-1][1],
        "messages": messages,
        "all_messages": _messages([*system, *turns(prompt)], shape) if system else messages,
        "system": prompt.system,
        "model": target.model,
        "max_tokens": prompt.max_tokens or target.max_tokens,
        "stream": prompt.streamed,
        "tools": _tools(prompt.tools, shape) or None,
        "conversation": prompt.conversation,
        "turn": sum(role == "user" for role, _ in prompt.messages),
    }
    return shape.defaults | {name: value for name, value in found.items() if value is not None}


def _messages(messages: list[dict[str, str]], shape: Request) -> list[dict[str, Any]]:
    named = [{**each, "role": shape.roles.get(each["role"], each["role"])} for each in messages]
    if shape.message is None:
        return named
    return [
        template.fill(shape.message, {"role": each["role"], "text": each["content"], "number": number})
        for number, each in enumerate(named, 1)
    ]


def _tools(tools: tuple[str, ...], shape: Request) -> list[Any]:
    if shape.tool is None:
        return list(tools)
    return [template.fill(shape.tool, {"tool": undated(tool)}) for tool in tools]
