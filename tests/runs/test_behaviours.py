"""What people and their links do, with real servers: what becomes of each stream, and what is kept and said of it.

All streams are open at once, for they mostly wait.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from random import Random

import gevent
import psutil
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import BEHAVIOURS, Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.network import Link
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client, content
from tests.support.links import gone
from tests.support.reference import ReferenceServer, counts, reference_server

pytestmark = pytest.mark.timing

TOKENS = 100  # 2 s
ITL = 20_000_000  # ns
LATE = 10_000_000  # ns that a token may be on its way on a busy machine, or a person late to leave
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Lived:
    fits: Callable[[Plan], bool]  # which of the plans that a behaviour draws: one that is over soon
    outcome: Outcome
    server: str  # the outcome as the server has it
    ttft: str = "100ms"  # the server's
    tokens: int = TOKENS


def leaves_soon(plan: Plan) -> bool:
    return plan.leave_after is not None and SECOND // 2 < plan.leave_after < 1.7 * SECOND


def soon_away(plan: Plan) -> bool:
    """Back, or killed, 3.3 s after asking."""
    return plan.away is not None and (plan.leave_after or sum(plan.away)) < 3.3 * SECOND


LIVED = {
    "patient": Lived(lambda _: True, Outcome.COMPLETED, "completed"),
    "impatient": Lived(lambda plan: (plan.patience or 0) < SECOND, Outcome.CANCELLED, "disconnected", ttft="5s"),
    "stop_button": Lived(lambda plan: (plan.leave_after_chunks or 0) < 9, Outcome.CANCELLED, "disconnected"),
    "skimmer": Lived(lambda plan: (plan.leave_after_chunks or 0) < 40, Outcome.CANCELLED, "disconnected"),
    "loses_interest": Lived(leaves_soon, Outcome.CANCELLED, "disconnected"),
    "closed_tab": Lived(leaves_soon, Outcome.CANCELLED, "disconnected"),
    "killed_app": Lived(leaves_soon, Outcome.CANCELLED, "disconnected"),
    "app_switcher": Lived(soon_away, Outcome.COMPLETED, "completed"),
    "forgotten_app": Lived(soon_away, Outcome.CANCELLED, "disconnected", tokens=200),
    "tunnel_rider": Lived(lambda plan: sum(plan.tunnel or ()) < 3.3 * SECOND, Outcome.COMPLETED, "completed"),
    "lingerer": Lived(lambda _: True, Outcome.COMPLETED, "completed"),
}
IN_A_RUN = {"reconnects", "polite_retry", "retry_storm"}  # of several streams: below, and in test_resume_run


@dataclass(frozen=True)
class Life:
    plan: Plan
    seen: StreamObservation
    clock: RunClock
    sent: list[int]  # when the server handed each token to the kernel, on the record's clock
    ended_at: int
    outcome: str  # as the server has it

    def sent_before(self, moment: int) -> int:
        return sum(at <= moment for at in self.sent)


@pytest.fixture(scope="module")
def watched() -> Iterator[ReferenceServer]:
    """A server with no other streams than those of `LIVED`."""
    with reference_server("--preset", "exact", "--itl", "20ms") as running:
        yield running


def all_lives(server: ReferenceServer, people: Mapping[str, WireClient], clock: RunClock) -> dict[str, Life]:
    """One stream of each behaviour."""
    plans = {name: next(filter(lived.fits, drawn(name))) for name, lived in LIVED.items()}

    def live(name: str) -> StreamObservation:
        road = Link(network.find("direct"), 1, plans[name].tunnel)
        question = Question(prompts.ask("Hello?"), plans[name], road, time.monotonic_ns(), IDENTITY)
        return people[name].stream(question).observation

    streams = {name: gevent.spawn(live, name) for name in LIVED}
    gevent.joinall(streams.values(), raise_error=True)
    answers = {row["id"]: row for row in server.truth()}
    found = {}
    for name, stream in streams.items():
        row = answers[stream.value.request_id]
        sent = [clock.from_monotonic(at) for at in row["sent"]]
        ended = clock.from_monotonic(row["ended_at"])
        found[name] = Life(plans[name], stream.value, clock, sent, ended, row["outcome"])
    return found


def drawn(name: str) -> Iterator[Plan]:
    return (BEHAVIOURS[name].plan(Random(seed)).asking_for(LIVED[name].tokens) for seed in count())


# Tunnels

RIDDEN = 60
ANSWER = {"x-gauge-ttft": "100ms", "x-gauge-itl": "20ms", "x-gauge-tokens": str(RIDDEN)}
PATIENCE = {"idle": "500ms", "first_token": "500ms"}
TUNNELS: dict[str, tuple[Link, dict[str, str], dict[str, str]]] = {  # the link, the server's fault, timeouts
    "short": (gone(0.6, 0.8), {}, {}),
    "before the first token": (gone(0.05, 1.2), {}, PATIENCE),
    "in the answer": (gone(0.6, 1.2), {}, PATIENCE),
    "silent": (gone(0.3, 0.5), {"x-gauge-fault": "silence@20"}, {"idle": "500ms"}),
}


@dataclass(frozen=True)
class Ridden:
    streams: dict[str, StreamObservation]
    completed: float  # as the server counts them


def ride(server: ReferenceServer, link: Link, fault: dict[str, str], **timeouts: str) -> StreamObservation:
    person = client(server.url, headers=ANSWER | fault, timeouts=timeouts)
    question = Question(prompts.ask("Hello?"), Plan(), link, time.monotonic_ns(), IDENTITY)
    seen = person.stream(question).observation
    person.close()
    return seen


def all_tunnels(server: ReferenceServer) -> dict[str, StreamObservation]:
    streams = {
        name: gevent.spawn(ride, server, link, fault, **timeouts) for name, (link, fault, timeouts) in TUNNELS.items()
    }
    gevent.joinall(streams.values(), raise_error=True)
    return {name: stream.value for name, stream in streams.items()}


def completed(server: ReferenceServer) -> float:
    return counts(server.url).get("reference_streams_ended_total:completed", 0)


def longest(times: list[int]) -> float:
    return max(after - before for before, after in pairwise(times)) / 1e9


# Readers who hardly read

SECONDS = 2  # that a reader looks at the answer before they leave


@pytest.fixture(scope="module")
def flooding() -> Iterator[ReferenceServer]:
    """With the send buffer that it has by default, and an answer of some 200 KB a second for a minute."""
    with reference_server("--preset", "exact", "--ttft", "0ms", "--itl", "500us", "--tokens", "99999") as running:
        yield running


def read(server: ReferenceServer, link: str, plan: Plan) -> StreamObservation:
    person = client(server.url, protocol="anthropic_messages")
    try:
        road = network.Link(network.find(link), 1)
        prompt = prompts.Prompt((("user", "?"),), max_tokens=99_999)
        return person.stream(Question(prompt, plan, road, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


def all_readers(server: ReferenceServer) -> dict[str, StreamObservation]:
    """A reader on each link, both at once."""
    readers = {
        link: gevent.spawn(read, server, link, Plan(leave_after=SECONDS * 10**9)) for link in ("trickle", "direct")
    }
    gevent.joinall(readers.values(), raise_error=True)
    return {link: reader.value for link, reader in readers.items()}


def pauses(server: ReferenceServer, stream: StreamObservation) -> int:
    """How often the server held back, as it reports it of this stream."""
    server.truth()  # waits until it has ended
    with urllib.request.urlopen(f"{server.url}/streams/{stream.request_id}") as response:
        count: int = json.load(response)["pauses"]["count"]
    return count


# All at once


@dataclass(frozen=True)
class Begun:
    before: float  # how many streams `server` had completed
    living: gevent.Greenlet  # of `all_lives`
    riding: gevent.Greenlet  # of `all_tunnels`
    reading: gevent.Greenlet  # of `all_readers`


@pytest.fixture(scope="module")
def begun(watched: ReferenceServer, server: ReferenceServer, flooding: ReferenceServer) -> Iterator[Begun]:
    clock = RunClock.starting_at(time.time_ns())
    people = {
        name: client(
            watched.url, clock=clock, headers={"x-gauge-ttft": lived.ttft, "x-gauge-tokens": str(lived.tokens)}
        )
        for name, lived in LIVED.items()
    }
    yield Begun(
        completed(server),
        gevent.spawn(all_lives, watched, people, clock),
        gevent.spawn(all_tunnels, server),
        gevent.spawn(all_readers, flooding),
    )
    for person in people.values():
        person.close()


@pytest.fixture(scope="module")
def lives(begun: Begun) -> dict[str, Life]:
    found: dict[str, Life] = begun.living.get()
    return found


@pytest.fixture(scope="module")
def ridden(begun: Begun, server: ReferenceServer) -> Ridden:
    streams: dict[str, StreamObservation] = begun.riding.get()
    return Ridden(streams, completed(server) - begun.before)


@pytest.fixture(scope="module")
def readers(begun: Begun) -> dict[str, StreamObservation]:
    found: dict[str, StreamObservation] = begun.reading.get()
    return found


# What people do


def test_every_behaviour_runs_against_a_real_server() -> None:
    assert LIVED.keys() | IN_A_RUN == BEHAVIOURS.keys()


@pytest.mark.parametrize("name", LIVED)
def test_the_record_and_the_server_agree_on_how_the_stream_ended(lives: dict[str, Life], name: str) -> None:
    life = lives[name]
    assert life.seen.outcome is LIVED[name].outcome, life.seen.detail
    assert life.outcome == LIVED[name].server


@pytest.mark.parametrize("name", [name for name, lived in LIVED.items() if lived.outcome is Outcome.COMPLETED])
def test_a_person_who_stays_gets_the_whole_answer(lives: dict[str, Life], name: str) -> None:
    life = lives[name]
    assert content(life.seen) == len(life.sent) == life.seen.output_tokens == TOKENS


@pytest.mark.parametrize("name", [name for name, lived in LIVED.items() if lived.outcome is Outcome.CANCELLED])
def test_a_person_who_leaves_keeps_the_chunks_so_far_and_the_server_stops_within_a_second(
    lives: dict[str, Life], name: str
) -> None:
    life = lives[name]
    last_read = life.seen.ended_at if life.plan.away is None else life.seen.due_at + life.plan.away[0]
    assert life.sent_before(last_read - LATE) <= content(life.seen) <= life.sent_before(last_read + LATE)
    assert len(life.sent) < LIVED[name].tokens
    assert life.ended_at - life.seen.ended_at < SECOND
    assert "as planned" in life.seen.detail


def test_the_stop_button_is_pressed_at_its_chunk(lives: dict[str, Life]) -> None:
    life = lives["stop_button"]
    assert life.plan.leave_after_chunks is not None
    assert life.plan.leave_after_chunks <= content(life.seen) <= life.plan.leave_after_chunks + 1, "one more on its way"


def test_an_impatient_person_has_no_content_when_their_patience_ends(lives: dict[str, Life]) -> None:
    life = lives["impatient"]
    assert (content(life.seen), life.sent) == (0, [])
    assert life.plan.patience is not None
    assert 0 <= life.seen.ended_at - life.seen.due_at - life.plan.patience < SECOND


def test_an_app_in_the_background_reads_nothing_and_gets_the_whole_answer_afterwards(lives: dict[str, Life]) -> None:
    life = lives["app_switcher"]
    assert life.plan.away is not None
    gone, length = life.plan.away
    moments = [chunk.perceived_at - life.seen.due_at for chunk in life.seen.chunks]
    back = gone + length - 1_000  # times are kept to the microsecond
    assert not [at for at in moments if gone + LATE < at < back]
    assert [at for at in moments if at < gone]
    assert [at for at in moments if at >= back]


def test_a_lingering_connection_stays_open_while_the_server_is_idle(
    lives: dict[str, Life], watched: ReferenceServer
) -> None:
    assert lives["lingerer"].outcome == "completed"
    port = int(watched.url.rpartition(":")[2])
    ours = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr[1] == port]
    left = sum(lived.outcome is Outcome.CANCELLED for lived in LIVED.values())
    assert sum(each.status == psutil.CONN_ESTABLISHED for each in ours) == len(LIVED) - left
    assert watched.active() == 0


def test_the_servers_counters_match_the_streams(lives: dict[str, Life], watched: ReferenceServer) -> None:
    said = counts(watched.url)
    for outcome in ("completed", "disconnected"):
        assert said[f"reference_streams_ended_total:{outcome}"] == sum(
            life.outcome == outcome for life in lives.values()
        )
    assert said["reference_tokens_delivered_total"] == sum(len(life.sent) for life in lives.values())


# What their links do


def test_the_answer_goes_on_after_the_tunnel_with_all_delayed_data(ridden: Ridden) -> None:
    short = ridden.streams["short"]
    assert (short.outcome, short.content_chunks) == (Outcome.COMPLETED, RIDDEN)
    assert 0.8 <= longest([one.perceived_at for one in short.chunks if one.kind in CONTENT]) < 1


@pytest.mark.parametrize("name", ["before the first token", "in the answer"])
def test_a_tunnel_longer_than_a_timeout_is_not_the_servers_silence(ridden: Ridden, name: str) -> None:
    long = ridden.streams[name]
    assert (long.outcome, long.content_chunks) == (Outcome.COMPLETED, RIDDEN)


def test_a_silent_server_still_times_out_on_a_link_with_tunnels(ridden: Ridden) -> None:
    silent = ridden.streams["silent"]
    assert (silent.outcome, silent.detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 0.5 s")


def test_the_server_has_completed_the_same_streams(ridden: Ridden) -> None:
    assert ridden.completed == 3


def test_a_reader_at_two_kilobytes_a_second_makes_the_server_hold_back(
    readers: dict[str, StreamObservation], flooding: ReferenceServer
) -> None:
    slow = readers["trickle"]
    assert (slow.outcome, slow.http_status) == (Outcome.CANCELLED, 200)
    # A segment of the link's may be on its way besides, and what it had saved when it was idle.
    assert 0 < slow.body_bytes <= 2_000 * (SECONDS + 1) + 2 * 1_448
    (row,) = [row for row in flooding.truth() if row["id"] == slow.request_id]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] < 2_000, "what the kernels hold, and not what the model had time for"
    assert counts(flooding.url)["reference_streams_paused_total"] == pauses(flooding, slow) > 0


def test_a_reader_on_a_fast_link_does_not_make_the_server_hold_back(
    readers: dict[str, StreamObservation], flooding: ReferenceServer
) -> None:
    assert pauses(flooding, readers["direct"]) == 0
    assert readers["direct"].content_chunks > 1_000
