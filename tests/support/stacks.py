"""The wire client and the clients that stand on a library, asked alike: a server that speaks as Anthropic does."""

import json
import time
from typing import Any

from streamgauge.harness.drive import clients, network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients import Client
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation
from tests.support.hostile import (
    CHUNKED,
    IDENTITY,
    LAST,
    Peer,
    chunk,
    target,
)

LIBRARIES = ["httpx", "anthropic"]


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def delta(kind: str = "text_delta", **fields: Any) -> bytes:
    return event("content_block_delta", index=0, delta={"type": kind, **(fields or {"text": "word "})})


MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "m",
    "stop_reason": None,
}
START = event("message_start", message={**MESSAGE, "usage": {"input_tokens": 7, "output_tokens": 1}})
START += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING = event("ping")
END = event("content_block_stop", index=0)
END += event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
END += event("message_stop")
GOOD = START + delta() + PING + delta() + delta() + END
WHOLE = CHUNKED + chunk(GOOD) + LAST


def person(name: str, url: str, *, fresh: bool = False, clock: RunClock | None = None, **settings: Any) -> Client:
    wanted = target(**{"protocol": "anthropic_messages", **settings})
    site = Site.of(url, wanted, clock or RunClock.starting_at(time.time_ns()))
    return clients.find(name)(site, fresh=fresh)


def ask(who: Client, plan: Plan | None = None, link: network.Network = network.NETWORKS["direct"]) -> StreamObservation:
    road = network.Link(link, 1)
    question = Question(prompts.ask("Hello?"), plan or Plan(), road, time.monotonic_ns(), IDENTITY)
    return who.stream(question).observation


def observe(name: str, url: str, plan: Plan | None = None, **settings: Any) -> StreamObservation:
    who = person(name, url, **settings)
    try:
        return ask(who, plan)
    finally:
        who.close()


# Connections


def serve(peer: Peer) -> None:
    """The script that answers until the client goes."""
    while peer.request():
        peer.send(WHOLE)
