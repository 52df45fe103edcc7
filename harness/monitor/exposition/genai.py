"""OpenTelemetry's names for generative AI, in one table: their status is Development, so they may change.

https://github.com/open-telemetry/semantic-conventions-genai, the page on metrics.
"""

from collections.abc import Mapping
from typing import NamedTuple

from streamgauge.harness.config.schema import ProtocolName


class Name(NamedTuple):
    """A metric as OpenTelemetry calls it."""

    name: str
    unit: str
    about: str


DURATION = Name("gen_ai.client.operation.duration", "s", "Due time to the end of the answer")
FIRST_CHUNK = Name("gen_ai.client.operation.time_to_first_chunk", "s", "Due time to the first event of any kind")
EACH_CHUNK = Name("gen_ai.client.operation.time_per_output_chunk", "s", "Gaps between chunks with content")
USAGE = Name("gen_ai.client.token.usage", "{token}", "Tokens that the server told")
TTFT = Name("streamgauge.ttft", "s", "Due time to the first content")  # ours: the first chunk may have none

OPERATION, PROVIDER, MODEL, TOKEN_KIND = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.token.type",
)
ERROR, ADDRESS, PORT = "error.type", "server.address", "server.port"

# By protocol, the operation and the provider; of a protocol that many servers speak, what its name says.
SPOKEN: Mapping[ProtocolName, tuple[str, str]] = {
    "anthropic_messages": ("chat", "anthropic"),
    "openai_chat": ("chat", "openai"),
    "openai_responses": ("chat", "openai"),
    "gemini": ("generate_content", "gcp.gemini"),
    "ollama": ("chat", "ollama"),
    "plain_sse": ("chat", "custom"),
    "ai_sdk": ("chat", "custom"),
    "ag_ui": ("chat", "custom"),
    "custom": ("chat", "custom"),
}
