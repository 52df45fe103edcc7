"""Which protocol an endpoint speaks: asks in each, once, at its usual path. A path that is not there costs nothing."""

from collections.abc import Sequence
from dataclasses import replace

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Ask, ask
from streamgauge.harness.probe.complaints import of_words
from streamgauge.harness.probe.trying import QUESTION, Result, Try, go_on

# In this order the endpoint is asked. One that speaks several answers as the commonest.
PROTOCOLS: tuple[ProtocolName, ...] = (
    "anthropic_messages",
    "openai_chat",
    "openai_responses",
    "gemini",
    "ollama",
    "ai_sdk",
    "ag_ui",
    "plain_sse",
)


def recognised(host: str, targets: Sequence[Target], put: Ask = ask) -> Result:
    """What came of asking for these targets until one got an answer.

    Each is asked once. More questions go to the one that came nearest.
    """
    tries: list[Try] = []
    for target in targets:
        tries.append(Try.of(put(host, target, "wire", QUESTION)))
        if tries[-1].completed or tries[-1].probe.stopped or tries[-1].probe.status in {None, 200}:
            return go_on(tries[-1], put)
    nearest = max(tries, key=nearness)
    return Result(nearest) if len(tries) > 1 and not nearness(nearest) else go_on(nearest, put)


def nearness(made: Try) -> int:
    """How much a refusal says that the right path was asked. A server that lacks the model says so with a 404, too."""
    status = made.probe.status
    if status in {404, 405} and not any(of_words(made.probe)):
        return 0
    return 1 if status in {401, 403} else 2


def at_no_usual_path(result: Result) -> Result:
    """The same with advice for an endpoint of which each protocol's path was asked, and none is there."""
    probe = result.first.probe
    origin, base = probe.site.endpoint.origin, probe.secret.blotted(probe.site.endpoint.base)
    own = Advice("If the endpoint has a path of its own, give it: --path /…; what it speaks there is then recognised.")
    if base:
        own = Advice(f"If this is the endpoint's whole URL, divide it: --host {origin} --path {line(base, 100)}")
    asked = Advice(f"Each protocol was asked at its usual path, and nothing is there: {', '.join(PROTOCOLS)}.")
    return replace(result, first=replace(result.first, advice=[asked, own]))
