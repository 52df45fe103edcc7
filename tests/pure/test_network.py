"""Links as arithmetic: no socket, no waiting. Whether it is the arithmetic of real links: test_network_fidelity.py."""

from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Handovers, Profile
from streamgauge.harness.drive.network import NETWORKS, Link, Network
from tests.support.links import SECOND, arrivals, deliveries, drink, gone, silences

FULL = 1_448 - 7  # bytes of an answer that fill a frame of 1,514, with 7 of HTTP's chunking and 66 of headers
EMULATED = [each for each in NETWORKS.values() if each.emulated]
# Those that do the same all the time, so that a mean is reached soon.
STEADY = [each for each in EMULATED if not (each.profile.stalls or each.profile.handovers or each.profile.loss)]
every_link = pytest.mark.parametrize("profile", EMULATED, ids=lambda each: each.name)
every_steady_link = pytest.mark.parametrize("profile", STEADY, ids=lambda each: each.name)


def mine(**numbers: object) -> Network:
    """A network with these numbers and nothing else to it; durations as in streamgauge.toml."""
    said = {name: Duration.parse(each) if isinstance(each, str) else each for name, each in numbers.items()}
    return Network("mine", Profile(**said), "a test", None)  # type: ignore[arg-type]  # msgspec's own check is enough


@given(deliveries, st.sampled_from(list(NETWORKS.values())), st.integers())
def test_deliveries_stay_in_order_and_none_is_before_its_arrival(
    steps: list[tuple[int, int]], profile: Network, seed: int
) -> None:
    link = Link(profile, seed)
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    assert got == sorted(got)
    assert all(at + profile.profile.rtt / 2 <= perceived + 1 for (at, _), perceived in zip(sent, got, strict=True))


@given(deliveries, st.sampled_from(EMULATED), st.integers())
def test_a_link_carries_no_more_than_its_rate_allows(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
    link = Link(profile, seed)
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    carried = sum(size for _, size in sent)
    least = carried * 8 / profile.profile.down_kbit * 1e6  # ns for these bytes, headers not counted
    assert got[-1] - sent[0][0] >= least


@given(deliveries, st.integers())
def test_a_direct_link_adds_nothing(steps: list[tuple[int, int]], seed: int) -> None:
    link = Link(NETWORKS["direct"], seed)
    assert not link.emulated
    assert all(link.deliver(at, size) == at for at, size in arrivals(steps))
    assert (link.handshake(), link.request(10_000), link.breaks_at) == (0, 0, None)
    allowed, when = link.take(5)
    link.took(5, allowed)
    assert link.take(5) == (allowed, when)
    assert when > 3_600 * SECOND


@given(deliveries, st.sampled_from(EMULATED), st.integers())
def test_the_same_seed_gives_the_same_link(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
    one, other = Link(profile, seed), Link(profile, seed)
    assert one.handshake() == other.handshake()
    assert one.request(500) == other.request(500)
    assert one.breaks_at == other.breaks_at
    assert [one.deliver(*each) for each in arrivals(steps)] == [other.deliver(*each) for each in arrivals(steps)]


@every_steady_link
def test_a_round_trip_takes_the_profiles_time_and_its_jitter_on_average(profile: Network) -> None:
    link = Link(profile, 1)
    trips = [link.handshake() for _ in range(4_000)]
    rtt, jitter = profile.profile.rtt, profile.profile.jitter
    assert min(trips) >= rtt
    # The mean of 4,000 sums of two exponentials: four standard errors are 4 × √2 / √4,000 = 9 % of the jitter.
    assert mean(trips) == pytest.approx(rtt + 2 * jitter, abs=0.09 * jitter)


@every_steady_link
def test_a_large_answer_at_once_takes_as_long_as_the_rate_says(profile: Network) -> None:
    link = Link(profile, 1)
    reads = [link.deliver(0, FULL) for _ in range(500)]
    gaps = [(after - before) / 1e6 for before, after in pairwise(reads)]
    assert mean(gaps) == pytest.approx(1_514 * 8 / profile.profile.down_kbit, rel=0.1)  # jitter moves only the two ends


@every_steady_link
def test_a_long_request_takes_longer_by_its_bytes_over_the_uplink(profile: Network) -> None:
    short, long = (Link(profile, 1).request(size) for size in (1_448, 101 * 1_448))
    assert (long - short) / 1e6 == pytest.approx(100 * 1_514 * 8 / profile.profile.up_kbit)


def test_a_link_that_was_idle_carries_a_burst_at_once_and_then_its_rate() -> None:
    link = Link(mine(down_kbit=800, burst_bytes=15_140), 1)  # ten full frames; 100 bytes a millisecond
    at_once = [link.deliver(0, FULL) for _ in range(10)]
    assert at_once == [0] * 10
    assert [link.deliver(0, FULL) / 1e6 for _ in range(2)] == [15.14, 30.28]
    refilled = 30_280_000 + 10 * 15_140_000
    assert [link.deliver(refilled, FULL) - refilled for _ in range(11)] == [0] * 10 + [15_140_000]


def test_small_events_pay_for_headers_each_until_they_queue_up_into_full_segments() -> None:
    link = Link(mine(down_kbit=800), 1)
    assert link.deliver(0, 127) == 2_000_000  # 134 and 66 bytes, 100 a millisecond
    assert link.deliver(10_000_000, 127) == 12_000_000
    waiting = [link.deliver(20_000_000, 127) for _ in range(200)]
    assert mean(after - before for before, after in pairwise(waiting)) == pytest.approx(
        134 * 1_514 / 1_448 * 1e4, rel=1e-3
    )


# Stalls and hand-overs


@pytest.mark.parametrize(
    ("name", "over_300ms", "over_1s", "longest"), [("lte_driving", 4, 0.9, 1.5), ("umts_driving", 8, 1.8, 5.8)]
)
def test_driving_stalls_as_often_and_as_long_as_recorded_links_did(
    name: str, over_300ms: float, over_1s: float, longest: float
) -> None:
    stalls = replace(Profile(), stalls=NETWORKS[name].profile.stalls)
    seen = [
        (end - begin) / SECOND
        for seed in range(60)
        for begin, end in Link(Network("it", stalls, "a test"), seed).silences(10 * 60 * SECOND)
    ]
    # Counts of 600 minutes: four standard errors of the rarer ones, 540 and 1,080, are 17 and 12 %.
    assert sum(each >= 0.3 for each in seen) / 600 == pytest.approx(over_300ms, rel=0.1)
    assert sum(each > 1 for each in seen) / 600 == pytest.approx(over_1s, rel=0.17)
    assert longest * 0.9 < max(seen) <= longest


def test_data_that_arrives_in_a_silence_is_delivered_after_it_at_the_links_rate() -> None:
    profile = mine(down_kbit=800, stalls=silences("1s", "2s", "2s"))
    link = Link(profile, 3)
    begin, end = link.silences(60 * SECOND)[1]  # it may begin in the first
    assert end - begin == 2 * SECOND
    got = [link.deliver(begin + number * SECOND // 10, FULL) for number in range(3)]
    assert [each - end for each in got] == [15_140_000, 30_280_000, 45_420_000]


@given(st.lists(st.integers(0, 100 * SECOND), max_size=30), st.integers(0, 9))
def test_the_servers_pace_does_not_move_a_links_silences(asked: list[int], seed: int) -> None:
    profile = NETWORKS["commute"]
    busy, idle = Link(profile, seed), Link(profile, seed)
    for at in sorted(asked):
        busy.deliver(at, 100)
    assert busy.silences(1_000 * SECOND) == idle.silences(1_000 * SECOND) != []
    assert busy.breaks_at == idle.breaks_at


def test_some_people_ask_in_the_middle_of_a_tunnel() -> None:
    profile = mine(stalls=silences("30s", "10s", "60s", 0.5))
    waits = [Link(profile, seed).handshake() / SECOND for seed in range(2_000)]
    blocked = [wait for wait in waits if wait]
    stalls = profile.profile.stalls
    assert stalls is not None
    # Pareto's mean, from 10 to 60 with index 0.5: √(10 × 60) = 24.5 s of silence after 30 s that work.
    assert len(blocked) / 2_000 == pytest.approx(24.5 / 54.5, abs=0.045)  # four standard errors
    # What is left of a length that was met at random: E[x²] / 2 E[x], and E[x²] = (a + √ab + b) √ab / 3 = 772.
    assert mean(blocked) == pytest.approx(772 / 49, rel=0.12)


def test_hand_overs_are_silences_and_resets_in_their_shares() -> None:
    handovers = Handovers(
        every=Duration.parse("10s"), shortest=Duration.parse("1s"), longest=Duration.parse("1s"), resets=0.25
    )
    profile = mine(handovers=handovers)
    links = [Link(profile, seed) for seed in range(400)]
    breaks = [link.breaks_at for link in links if link.breaks_at is not None]
    assert mean(breaks) / SECOND == pytest.approx(10 / 0.25, rel=0.2)  # four standard errors of 400 exponentials
    gaps = [gap for link in links[:100] for gap in link.silences(60 * SECOND)]
    assert len(gaps) / 6_000 == pytest.approx(1 / (10 / 0.75 + 1), rel=0.2)  # 420 of them
    assert Link(mine(handovers=replace(handovers, resets=1.0)), 1).breaks_at is not None
    assert Link(mine(handovers=replace(handovers, resets=1.0)), 1).silences(100 * SECOND) == []


# Loss


def test_a_lost_segment_is_a_round_trip_late_if_others_follow_and_otherwise_a_timeout() -> None:
    profile = mine(rtt="100ms", loss=0.01)

    def late(gap: int) -> list[int]:
        """How much later than half a round trip the hit ones come, ms, at one segment each `gap` ns."""
        link, hit, last = Link(profile, 1), [], 0
        for number in range(1, 5_000):
            at = number * gap
            got = link.deliver(at, 500)
            if got > max(at + 50_000_000, last):
                hit.append(round((got - at) / 1e6 - 50))
            last = got
        return hit

    # Three more segments tell the sender after 3 × 20 ms and a round trip; none do for 300 ms, which is the timeout.
    assert sorted(set(late(20_000_000)))[0] == 160
    assert sorted(set(late(SECOND)))[0] == 300
    # 50 ± 4 × 7; within a recovery others are lost unseen.
    assert 20 < len(late(20_000_000)) < 80
    assert 22 < len(late(SECOND)) < 78


def test_a_lost_first_segment_of_a_connection_costs_a_second_at_least() -> None:
    trips = [Link(mine(rtt="100ms", loss=0.02), seed).handshake() for seed in range(2_000)]
    late = [trip for trip in trips if trip > 100_000_000]
    assert min(late) == SECOND + 100_000_000
    assert len(late) / 2_000 == pytest.approx(1 - 0.98**2, rel=0.45)  # 80 of them


@pytest.mark.parametrize("lateness", [0, 4_000_000], ids=["on time", "4 ms late each time"])
@pytest.mark.parametrize("name", ["edge", "3g", "slow_4g", "fast_4g"])
def test_a_paced_reader_gets_the_profiles_rate(name: str, lateness: int) -> None:
    read = drink(Link(NETWORKS[name], 1), 20, lateness)
    assert read * 8 / 20 / 1_000 * 1_514 / 1_448 == pytest.approx(NETWORKS[name].profile.down_kbit, rel=0.03)


def test_a_paced_reader_waits_for_the_end_of_a_silence() -> None:
    link = Link(mine(down_kbit=800, stalls=silences("1s", "2s", "2s")), 3)
    begin, end = link.silences(60 * SECOND)[1]  # it may begin in the first
    assert link.take(begin + SECOND) == (0, end)
    assert link.take(end)[0] > 0


def test_pacing_does_not_change_the_deliveries() -> None:
    paced, other = (Link(NETWORKS["slow_4g"], 1) for _ in range(2))
    drink(paced, 2)
    assert [paced.deliver(0, 1_000) for _ in range(50)] == [other.deliver(0, 1_000) for _ in range(50)]


@every_link
def test_a_window_is_small_and_holds_the_rate_at_a_quarter_of_the_round_trip(profile: Network) -> None:
    if profile.name in {"fiber", "wifi"}:
        assert profile.window is None
        return
    assert profile.window is not None
    assert profile.window <= 32_768
    assert profile.window >= int(profile.profile.down_kbit * profile.profile.rtt / 8e6 / 4)


@pytest.mark.parametrize("name", [*NETWORKS, "recorded"])
def test_nothing_gets_through_a_tunnel_on_any_link(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "a.trace"
    trace.write_text("".join(f"{stamp}\n" for stamp in range(1, 1_001)))
    link = gone(1, 2, f"trace:{trace}" if name == "recorded" else name)
    begins, ends = 1_000_000_000, 3_000_000_000
    assert link.window is not None
    assert link.take(begins + 1)[0] == 0
    assert link.take(begins + 1)[1] >= ends
    assert link.deliver(begins + 1, 100) >= ends
    assert link.after(begins - 1_000, 5_000) >= ends + 4_000
