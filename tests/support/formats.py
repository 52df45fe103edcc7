"""The protocols that tests read answers by: the shipped ones, and two mapped formats."""

from streamgauge.harness.config.schema import Events
from streamgauge.harness.drive.protocols import PROTOCOLS, custom

ANTHROPIC, OPENAI, PLAIN = (PROTOCOLS[name] for name in ("anthropic_messages", "openai_chat", "plain_sse"))
MAPPED = custom(
    Events(
        text="parts.0.text",
        thinking="thought",
        tool="call.input",
        error="problem",
        input_tokens="usage.in",
        output_tokens="usage.out",
        stop_reason="why",
        end_path="finished",
    )
)
AS_TEXT = custom(Events(error="error", output_tokens="n", end_data="<end>", end_event="bye"))
RESPONSES = PROTOCOLS["openai_responses"]
ALL = [ANTHROPIC, OPENAI, PLAIN, MAPPED, AS_TEXT]
