"""People who come back for the rest of an answer, one connection after the other."""

import time

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan, Reconnect
from streamgauge.harness.drive.clients import Client
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.reading.resumption import Place
from streamgauge.harness.record.observation import StreamObservation
from tests.support.hostile import (
    IDENTITY,
)

GOES_ON = Plan(reconnect=Reconnect(5, seed=1))


def road(breaks_at: int | None = None, profile: network.Network = network.NETWORKS["direct"]) -> network.Link:
    link = network.Link(profile, 1)
    link.breaks_at = breaks_at
    return link


def ask(person: Client, link: network.Link, plan: Plan = GOES_ON, place: Place | None = None) -> Reply:
    return person.stream(Question(prompts.ask("Hello?"), plan, link, time.monotonic_ns(), IDENTITY, place))


def replies(person: Client, *roads: network.Link) -> list[Reply]:
    """One answer, over these links one after another for as long as there may be more of it, without a wait."""
    found: list[Reply] = []
    for link in roads:
        if found and found[-1].place is None:
            break
        found.append(ask(person, link, place=found[-1].place if found else None))
    person.close()
    return found


def tried(person: Client, *roads: network.Link) -> list[StreamObservation]:
    return [reply.observation for reply in replies(person, *roads)]


def lost_and_duplicated(seen: StreamObservation) -> tuple[int | None, int | None]:
    return seen.resume_lost, seen.resume_duplicated
