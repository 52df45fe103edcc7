"""Which protocol an endpoint speaks: asks in each, once, at its usual path. A path that is not there costs nothing."""

from collections.abc import Sequence

from streamgauge.harness.config.schema import ProtocolName, Target
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
