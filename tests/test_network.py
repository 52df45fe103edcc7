"""Links as arithmetic: no socket, no waiting."""

from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drive import network
from harness.drive.network import NETWORKS, Link, Network
from harness.errors import ScenarioError

EMULATED = [each for each in NETWORKS.values() if each.rtt_ms]
every_link = pytest.mark.parametrize("profile", EMULATED, ids=lambda each: each.name)

# Deliveries as a server's kernel would make them: ns since the one before, and bytes.
deliveries = st.lists(st.tuples(st.integers(0, 2_000_000_000), st.integers(1, 65_536)), min_size=1, max_size=60)


def arrivals(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times instead of gaps."""
    at, made = 0, []
    for gap, size in steps:
        at += gap
        made.append((at, size))
    return made


@given(deliveries, st.sampled_from(list(NETWORKS.values())), st.integers())
def test_deliveries_stay_in_order_and_none_comes_before_it_arrived(
    steps: list[tuple[int, int]], profile: Network, seed: int
) -> None:
    link = Link(profile, Random(seed))
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    assert got == sorted(got)
    assert all(at + profile.rtt_ms / 2 * 1e6 <= perceived + 1 for (at, _), perceived in zip(sent, got, strict=True))


@given(deliveries, st.sampled_from(EMULATED), st.integers())
def test_no_more_comes_through_than_the_rate_allows(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
    link = Link(profile, Random(seed))
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    carried = sum(size for _, size in sent)
    least = carried * 8 / profile.down_kbit * 1e6  # ns for these bytes, headers not counted
    assert got[-1] - sent[0][0] >= least


@given(deliveries, st.integers())
def test_a_direct_link_adds_nothing(steps: list[tuple[int, int]], seed: int) -> None:
    link = Link(NETWORKS["direct"], Random(seed))
    assert not link.emulated
    assert all(link.deliver(at, size) == at for at, size in arrivals(steps))
    assert (link.handshake(), link.request(10_000)) == (0, 0)


@given(deliveries, st.sampled_from(EMULATED), st.integers())
def test_the_same_seed_is_the_same_link(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
    one, other = Link(profile, Random(seed)), Link(profile, Random(seed))
    assert one.handshake() == other.handshake()
    assert one.request(500) == other.request(500)
    assert [one.deliver(*each) for each in arrivals(steps)] == [other.deliver(*each) for each in arrivals(steps)]


@every_link
def test_a_round_trip_takes_the_profiles_time_and_its_jitter_on_average(profile: Network) -> None:
    link = Link(profile, Random(1))
    trips = [link.handshake() / 1e6 for _ in range(4_000)]
    assert min(trips) >= profile.rtt_ms
    # The mean of 4,000 sums of two exponentials: four standard errors are 4 × √2 / √4,000 = 9 % of the jitter.
    assert mean(trips) == pytest.approx(profile.rtt_ms + 2 * profile.jitter_ms, abs=0.09 * profile.jitter_ms)


@every_link
def test_a_large_answer_at_once_takes_as_long_as_the_rate_says(profile: Network) -> None:
    link = Link(profile, Random(1))
    reads = [link.deliver(0, 1_434) for _ in range(500)]  # 1,434 and 66 of framing: 1,500 bytes each
    gaps = [(after - before) / 1e6 for before, after in pairwise(reads)]
    assert mean(gaps) == pytest.approx(1_500 * 8 / profile.down_kbit, rel=0.1)  # jitter moves only the two ends


@every_link
def test_a_long_request_takes_longer_by_its_bytes_over_the_uplink(profile: Network) -> None:
    short, long = (Link(profile, Random(1)).request(size) for size in (1_000, 101_000))
    assert (long - short) / 1e6 == pytest.approx(100_000 * 8 / profile.up_kbit)


def test_an_unknown_network_is_told_with_those_that_exist() -> None:
    with pytest.raises(ScenarioError) as fault:
        network.find("slow4g")
    assert str(fault.value) == f"no network called 'slow4g'; there are {', '.join(NETWORKS)}"
    assert all(network.find(name).name == name for name in NETWORKS)
