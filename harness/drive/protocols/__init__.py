"""Protocols: what an event's bytes mean. To add one: a table, see `tabled`, or a file and its entry in `PROTOCOLS`.

event                what a decoder yields and a protocol reads
protocol             what every protocol provides
lenient              reading other people's JSON
numbering            sequence numbers: lost and doubled events
anthropic_messages   Anthropic Messages
openai_chat          OpenAI chat completions
openai_responses     OpenAI Responses
plain_sse            text in `data:`
custom               a format mapped in the config
tabled               shipped protocols that are such mappings: the files in `tables`
places               what a template of a request is filled with
"""

from dataclasses import replace

from streamgauge.harness.config import template
from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.protocols import anthropic_messages, openai_chat, openai_responses, plain_sse
from streamgauge.harness.drive.protocols.custom import custom
from streamgauge.harness.drive.protocols.protocol import Answer, Malformed, Meaning, Protocol
from streamgauge.harness.drive.protocols.tabled import TABLES, tabled
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed

__all__ = ["PROTOCOLS", "Answer", "Malformed", "Meaning", "Protocol", "custom", "for_target"]

PROTOCOLS: dict[ProtocolName, Protocol] = {
    protocol.name: protocol
    for protocol in (
        anthropic_messages.PROTOCOL,
        openai_chat.PROTOCOL,
        openai_responses.PROTOCOL,
        plain_sse.PROTOCOL,
        *map(tabled, TABLES),
    )
}


def for_target(target: Target) -> Protocol:
    """The target's protocol as the target changes it. ScenarioError if there is no such protocol."""
    if target.protocol == "custom" and target.events is not None:
        protocol = custom(target.events)
    elif target.protocol in PROTOCOLS:
        protocol = PROTOCOLS[target.protocol]
    else:
        raise ScenarioError(
            f"no protocol called {target.protocol!r}; there are "
            + listed(target.protocol, PROTOCOLS, ", and custom with its events")
        )
    path, whole_path = target.path, target.whole_path
    if path is None:
        # In a protocol's own paths; so they are the same for every question. Gemini's list of models says models/NAME.
        model = {"model": target.model.removeprefix("models/")}
        path = template.fill_path(protocol.path, model)
        if whole_path is None and protocol.whole_path is not None:
            whole_path = template.fill_path(protocol.whole_path, model)
    end = target.end or protocol.end
    if end == "finish_reason" and not protocol.has_reasons:
        raise ScenarioError(f'target.end = "finish_reason": {protocol.name} has no stop reasons')
    if (path, whole_path, end) == (protocol.path, protocol.whole_path, protocol.end):
        return protocol
    return replace(protocol, path=path, whole_path=whole_path, end=end)
