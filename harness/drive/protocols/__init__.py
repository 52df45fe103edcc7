"""Protocols: what an event's bytes mean. To add one, add a file here and an entry in `PROTOCOLS`.

event                what a decoder yields and a protocol reads
protocol             what every protocol provides
lenient              reading other people's JSON
anthropic_messages   Anthropic Messages
openai_chat          OpenAI chat completions
plain_sse            text in `data:`
custom               a format mapped in the config
"""

from dataclasses import replace

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.protocols import anthropic_messages, openai_chat, plain_sse
from streamgauge.harness.drive.protocols.custom import custom
from streamgauge.harness.drive.protocols.protocol import Answer, Malformed, Meaning, Protocol
from streamgauge.harness.errors import ScenarioError

__all__ = ["PROTOCOLS", "Answer", "Malformed", "Meaning", "Protocol", "custom", "for_target"]

PROTOCOLS: dict[ProtocolName, Protocol] = {
    protocol.name: protocol
    for protocol in (
        anthropic_messages.PROTOCOL,
        openai_chat.PROTOCOL,
        plain_sse.PROTOCOL,
    )
}


def for_target(target: Target) -> Protocol:
    """The target's protocol, with the target's path. ScenarioError if there is no such protocol."""
    if target.protocol == "custom" and target.events is not None:
        protocol = custom(target.events)
    elif target.protocol in PROTOCOLS:
        protocol = PROTOCOLS[target.protocol]
    else:
        raise ScenarioError(
            f"no protocol called {target.protocol!r}; there are {', '.join(PROTOCOLS)}, and custom with its events"
        )
    return protocol if target.path is None else replace(protocol, path=target.path)
