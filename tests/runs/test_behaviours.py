"""What people do, with a real server: what becomes of each stream, what is kept of it, and what the server says."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

import gevent
import psutil
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import BEHAVIOURS, Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client, content
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
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--itl", "20ms") as running:
        yield running


@pytest.fixture(scope="module")
def lives(server: ReferenceServer) -> Iterator[dict[str, Life]]:
    """One stream of each behaviour, all at once; their clients live until the end of the module."""
    clock = RunClock.starting_at(time.time_ns())
    plans = {name: next(filter(lived.fits, drawn(name))) for name, lived in LIVED.items()}
    people = {
        name: client(server.url, clock=clock, headers={"x-gauge-ttft": lived.ttft, "x-gauge-tokens": str(lived.tokens)})
        for name, lived in LIVED.items()
    }

    def live(name: str) -> StreamObservation:
        road = network.Link(network.find("direct"), 1, plans[name].tunnel)
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
    yield found
    for person in people.values():
        person.close()


def drawn(name: str) -> Iterator[Plan]:
    return (BEHAVIOURS[name].plan(Random(seed)).asking_for(LIVED[name].tokens) for seed in count())


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
    lives: dict[str, Life], server: ReferenceServer
) -> None:
    assert lives["lingerer"].outcome == "completed"
    port = int(server.url.rpartition(":")[2])
    ours = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr[1] == port]
    left = sum(lived.outcome is Outcome.CANCELLED for lived in LIVED.values())
    assert sum(each.status == psutil.CONN_ESTABLISHED for each in ours) == len(LIVED) - left
    assert server.active() == 0


def test_the_servers_counters_match_the_streams(lives: dict[str, Life], server: ReferenceServer) -> None:
    said = counts(server.url)
    for outcome in ("completed", "disconnected"):
        assert said[f"reference_streams_ended_total:{outcome}"] == sum(
            life.outcome == outcome for life in lives.values()
        )
    assert said["reference_tokens_delivered_total"] == sum(len(life.sent) for life in lives.values())
