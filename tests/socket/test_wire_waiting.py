"""People who leave at a moment, all at once since they mostly wait: what is kept of their streams."""

import contextlib
import time
from typing import Any, NamedTuple

import pytest
from gevent.pool import Pool

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.socket.conftest import READERS, read_with
from tests.support.hostile import (
    CHUNKED,
    DONE,
    IDENTITY,
    LAST,
    Peer,
    Script,
    ask,
    chunk,
    client,
    content,
    held,
    scripted,
    token,
    tokens,
)

ENOUGH = 10_000_000_000  # ns, in which a client reads what its server sends at once, however busy the machine is
DIRECT = network.find("direct")
MOON = network.find("moon", {"moon": Profile(rtt=Duration.parse("12s"))})
ON_THE_WAY = 11_000_000_000  # ns: the question was there after 6 s, the answer is after 12 s


def content_and_later_the_end(peer: Peer) -> None:
    peer.request()
    peer.send(CHUNKED, chunk(token(1)))
    time.sleep(ENOUGH / 1e9)
    peer.send(chunk(DONE) + LAST)


def once_more(peer: Peer) -> str:
    """A whole answer, and then one without its end."""
    peer.request()
    peer.send(CHUNKED + chunk(tokens(3) + DONE) + LAST)
    peer.request()
    peer.send(CHUNKED, *(chunk(token(number)) for number in range(3)))
    return peer.until_gone()


class Person(NamedTuple):
    plan: Plan = Plan()
    script: Script = held(CHUNKED, chunk(tokens(3)))
    link: network.Network = DIRECT
    breaks_at: int | None = None  # ns: when the link does

    def ask(self, url: str) -> StreamObservation:
        """Over the moon's link by a connection that is there: connecting would take as long once more."""
        person = client(url)
        if self.link is MOON:
            ask(person)
        road = network.Link(self.link, 1)
        road.breaks_at = self.breaks_at
        seen = person.stream(Question(prompts.ask("Hello?"), self.plan, road, time.monotonic_ns(), IDENTITY))
        person.close()
        return seen.observation


PEOPLE = {
    "leaves": Person(Plan(leave_after=ENOUGH)),
    "is killed": Person(Plan(leave_after=ENOUGH, abort=True)),
    "is killed in the background": Person(Plan(away=(ENOUGH, ENOUGH), leave_after=ENOUGH + 200_000_000, abort=True)),
    "changes cells": Person(breaks_at=ENOUGH),
    "is impatient": Person(Plan(patience=ENOUGH), held(CHUNKED, chunk(b": ping\n\n"))),
    "was impatient": Person(Plan(patience=ENOUGH), content_and_later_the_end),
    "leaves the moon": Person(Plan(leave_after=ON_THE_WAY), once_more, MOON),
    "is impatient on the moon": Person(Plan(patience=ON_THE_WAY), once_more, MOON),
    "presses stop on the moon": Person(Plan(leave_after_chunks=2), once_more, MOON),
}


class Left(NamedTuple):
    seen: StreamObservation
    goodbye: Any  # as the server saw it


@pytest.fixture(scope="module", params=READERS)
def people(request: pytest.FixtureRequest) -> dict[str, Left]:
    with read_with(request.param), contextlib.ExitStack() as stack:
        servers = [stack.enter_context(scripted(person.script)) for person in PEOPLE.values()]
        urls = [server.url for server in servers]
        seen = Pool(len(PEOPLE)).map(lambda pair: pair[0].ask(pair[1]), zip(PEOPLE.values(), urls, strict=True))
        goodbyes = [server.result() for server in servers]
        return dict(zip(PEOPLE, map(Left, seen, goodbyes), strict=True))


def test_a_person_who_leaves_after_a_time_keeps_the_chunks_so_far_and_the_server_sees_a_fin(
    people: dict[str, Left],
) -> None:
    seen, goodbye = people["leaves"]
    assert (seen.outcome, content(seen), seen.detail) == (Outcome.CANCELLED, 3, "left after 10.0 s, as planned")
    assert goodbye == "fin"
    assert seen.first_content_at is not None
    assert seen.ended_at - seen.due_at >= ENOUGH


@pytest.mark.parametrize("name", ["is killed", "is killed in the background"])
def test_a_killed_app_leaves_with_a_reset(people: dict[str, Left], name: str) -> None:
    seen, goodbye = people[name]
    assert (seen.outcome, content(seen), goodbye) == (Outcome.CANCELLED, 3, "reset")


def test_a_cell_change_that_breaks_the_link_is_no_failure_of_the_server(people: dict[str, Left]) -> None:
    seen, goodbye = people["changes cells"]
    assert (seen.outcome, content(seen), goodbye) == (Outcome.CANCELLED, 3, "reset")
    assert seen.detail == "the phone changed cells, and the connection was lost, as the emulated link planned"


def test_an_impatient_person_leaves_if_nothing_has_arrived(people: dict[str, Left]) -> None:
    seen, goodbye = people["is impatient"]
    assert (seen.outcome, content(seen), goodbye) == (Outcome.CANCELLED, 0, "fin")
    assert seen.detail == "left after 10.0 s without content, as planned"


def test_an_impatient_person_stays_once_content_has_arrived(people: dict[str, Left]) -> None:
    seen, _ = people["was impatient"]
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 1)


@pytest.mark.parametrize("name", [name for name, person in PEOPLE.items() if person.link is MOON])
def test_chunks_on_the_link_when_a_person_leaves_are_kept_as_the_wires_part(people: dict[str, Left], name: str) -> None:
    seen, _ = people[name]
    assert seen.outcome is Outcome.CANCELLED
    assert len([one for one in seen.chunks if one.kind in CONTENT]) == 3


def test_chunks_still_on_the_link_when_the_person_leaves_were_never_seen(people: dict[str, Left]) -> None:
    seen, _ = people["leaves the moon"]
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)


def test_an_impatient_person_leaves_while_the_first_content_is_still_on_the_link(people: dict[str, Left]) -> None:
    seen, _ = people["is impatient on the moon"]
    assert (seen.first_content_at, seen.content_chunks) == (None, 0)
    assert seen.detail == "left after 11.0 s without content, as planned"


def test_stop_is_pressed_when_the_link_has_delivered_the_planned_number_of_chunks(people: dict[str, Left]) -> None:
    seen, _ = people["presses stop on the moon"]
    assert seen.detail == "left after 2 chunks, as planned"
    assert seen.content_chunks >= 2
    assert seen.first_content_wire_at is not None
    assert seen.ended_at - seen.first_content_wire_at >= 6_000_000_000, "half of the round trip"
