"""Which format a stream looks like, and the lines of streamgauge.toml that read it. Pure.

To add a format, add an entry to `FORMATS`; a test holds that its lines read a stream of it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from streamgauge.harness.probe.samples import Sample

_GEMINI_ARRAY = re.compile(rb"\s*\[\s*\{")
_AI_SDK_4 = re.compile(rb'(?:[0-9a-g]:(?:"|\{|\[)[^\n]*\n){2}')


class Format(NamedTuple):
    name: str  # as people call it
    looks: Callable[[Sample], bool]
    lines: str  # of the config; "": streamgauge does not read it
    protocol: str = "custom"
    why_not: str = ""  # if it is not read
    lacks: str = ""  # in the path's query: with it, the server sends what the lines read


def looks_like(sample: Sample) -> Format | None:
    """The first format that the stream looks like; None if it is none of them."""
    return next((each for each in FORMATS if each.looks(sample)), None)


_TGI = """\
[target]
protocol = "custom"

[target.events]
text = "token.text"
error = "error"
output_tokens = "details.generated_tokens"
end_path = "generated_text"
"""
_LLAMA_CPP = """\
[target]
protocol = "custom"

[target.events]
text = "content"
error = "error.message"
input_tokens = "tokens_evaluated"
output_tokens = "tokens_predicted"
end_path = "stop"
"""
_COHERE = """\
[target]
protocol = "custom"

[target.events]
text = "delta.message.content.text"
thinking = "delta.message.content.thinking"
stop_reason = "delta.finish_reason"
input_tokens = "delta.usage.tokens.input_tokens"
output_tokens = "delta.usage.tokens.output_tokens"
end = { where = { type = "message-end" } }
"""
_CLOUDFLARE = """\
[target]
protocol = "custom"

[target.events]
text = "response"
error = "errors.0.message"
input_tokens = "usage.prompt_tokens"
output_tokens = "usage.completion_tokens"
end_data = "[DONE]"
"""


def _shipped(name: str) -> str:
    return f'[target]\nprotocol = "{name}"\n'


def _plain(sample: Sample) -> bool:
    """Text, and not JSON, in the data of the events."""
    texts = [event for event, table in zip(sample.events, sample.data, strict=True) if table is None and event.data]
    ends = sample.has("done", True) or any(event.data.strip() == b"[DONE]" for event in texts)  # type: ignore[arg-type]
    return bool(texts) and ends and len(texts) * 2 > len(sample.events)


def _bedrock(sample: Sample) -> bool:
    return sample.kind == "application/vnd.amazon.eventstream"


FORMATS: tuple[Format, ...] = (
    Format(
        "OpenAI Responses",
        lambda sample: sample.has_type("response."),
        _shipped("openai_responses"),
        "openai_responses",
    ),
    Format(
        "Anthropic Messages",
        lambda sample: sample.has_type("message_start", "content_block_", "message_delta", "message_stop"),
        _shipped("anthropic_messages"),
        "anthropic_messages",
    ),
    Format(
        "OpenAI completions (the legacy API)",
        lambda sample: sample.reaches("choices.0.text"),
        _shipped("openai_chat"),
        "openai_chat",
    ),
    Format(
        "OpenAI chat completions",
        lambda sample: sample.reaches("choices.0.delta") or sample.has("object", "chat.completion.chunk"),
        _shipped("openai_chat"),
        "openai_chat",
    ),
    Format(
        "Gemini's JSON array, and not server-sent events",
        lambda sample: bool(_GEMINI_ARRAY.match(sample.body)) and b'"candidates"' in sample.body,
        _shipped("gemini"),
        "gemini",
        lacks="alt=sse",
    ),
    Format("Gemini", lambda sample: sample.reaches("candidates.0.content"), _shipped("gemini"), "gemini"),
    Format(
        "AG-UI",
        lambda sample: sample.has_type("RUN_STARTED", "TEXT_MESSAGE_", "REASONING_MESSAGE_"),
        _shipped("ag_ui"),
        "ag_ui",
    ),
    Format(
        "the AI SDK's UI message stream",
        lambda sample: (
            "x-vercel-ai-ui-message-stream" in sample.headers
            or sample.has("type", "text-delta", "reasoning-delta", "start-step", "tool-input-delta")
        ),
        _shipped("ai_sdk"),
        "ai_sdk",
    ),
    Format("Cohere", lambda sample: sample.has("type", "content-delta", "message-end"), _COHERE),
    Format(
        "Ollama (a JSON document on each line)",
        lambda sample: (
            bool(sample.lines) and sample.has("done") and (sample.reaches("message.content") or sample.has("response"))
        ),
        _shipped("ollama"),
        "ollama",
    ),
    Format("Text Generation Inference", lambda sample: sample.reaches("token.text"), _TGI),
    Format("llama.cpp's own /completion", lambda sample: sample.has("content") and sample.has("stop"), _LLAMA_CPP),
    Format("Cloudflare Workers AI", lambda sample: bool(sample.data) and sample.has("response"), _CLOUDFLARE),
    Format("text in server-sent events", _plain, _shipped("plain_sse"), "plain_sse"),
    Format("Amazon's binary event stream", _bedrock, "", why_not="it is not made of server-sent events or lines"),
    Format(
        "the AI SDK's old data stream",
        lambda sample: bool(_AI_SDK_4.match(sample.body)),
        "",
        why_not="its lines are no JSON; let the endpoint send the newer UI message stream",
    ),
)
