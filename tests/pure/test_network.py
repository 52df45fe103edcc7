"""Links as arithmetic: no socket, no waiting. Whether it is the arithmetic of real links: test_network_fidelity.py."""

from array import array
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamgauge.harness import config
from streamgauge.harness.config import Duration, Handovers, Profile, Silences
from streamgauge.harness.drive import network
from streamgauge.harness.drive.network import NETWORKS, Link, Network
from streamgauge.harness.drive.network.trace import Trace
from streamgauge.harness.errors import ConfigError, ScenarioError

SECOND = 10**9
DOCS = Path(__file__).parents[2] / "docs/reference/networks.md"
FULL = 1_448 - 7  # bytes of an answer that fill a frame of 1,514, with 7 of HTTP's chunking and 66 of headers
EMULATED = [each for each in NETWORKS.values() if each.emulated]
# Those that do the same all the time, so that a mean is reached soon.
STEADY = [each for each in EMULATED if not (each.profile.stalls or each.profile.handovers or each.profile.loss)]
every_link = pytest.mark.parametrize("profile", EMULATED, ids=lambda each: each.name)
every_steady_link = pytest.mark.parametrize("profile", STEADY, ids=lambda each: each.name)

# Deliveries as a server's kernel would make them: ns since the one before, and bytes.
deliveries = st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 65_536)), min_size=1, max_size=60)


def arrivals(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times instead of gaps."""
    at, made = 0, []
    for gap, size in steps:
        at += gap
        made.append((at, size))
    return made


def mine(**numbers: object) -> Network:
    """A network with these numbers and nothing else to it; durations as in streamgauge.toml."""
    said = {name: Duration.parse(each) if isinstance(each, str) else each for name, each in numbers.items()}
    return Network("mine", Profile(**said), "a test", None)  # type: ignore[arg-type]  # msgspec's own check is enough


def silences(every: str, shortest: str, longest: str, tail: float = 1) -> Silences:
    parse = Duration.parse
    return Silences(every=parse(every), shortest=parse(shortest), longest=parse(longest), tail=tail)


@given(deliveries, st.sampled_from(list(NETWORKS.values())), st.integers())
def test_deliveries_stay_in_order_and_none_comes_before_it_arrived(
    steps: list[tuple[int, int]], profile: Network, seed: int
) -> None:
    link = Link(profile, seed)
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    assert got == sorted(got)
    assert all(at + profile.profile.rtt / 2 <= perceived + 1 for (at, _), perceived in zip(sent, got, strict=True))


@given(deliveries, st.sampled_from(EMULATED), st.integers())
def test_no_more_comes_through_than_the_rate_allows(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
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
def test_the_same_seed_is_the_same_link(steps: list[tuple[int, int]], profile: Network, seed: int) -> None:
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


def test_what_arrives_in_a_silence_comes_at_its_end_at_the_links_rate() -> None:
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


def test_a_lost_segment_comes_a_round_trip_later_where_others_follow_and_a_timeout_later_where_none_do() -> None:
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


# Paced reads


def drink(link: Link, seconds: int, lateness: int = 0) -> int:
    """Bytes that a client gets which reads whenever it may, and comes `lateness` ns late each time."""
    at, read = 0, 0
    while at < seconds * SECOND:
        allowed, look = link.take(at)
        if allowed:
            link.took(at, allowed)
            read += allowed
        else:
            at = look + lateness
    return read


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


def test_pacing_takes_nothing_from_what_is_delivered() -> None:
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


def test_a_recorded_link_has_a_window_by_what_it_carried(tmp_path: Path) -> None:
    path = write(tmp_path, *range(1, 101))  # 12 Mbit/s
    train = network.find("train", {"train": Profile(rtt=Duration.parse("100ms"), trace=path)})
    assert train.window == 12_000 * 100 / 8 / 4


# Recorded links


def write(folder: Path, *stamps: object, name: str = "a.trace") -> str:
    path = folder / name
    path.write_text("".join(f"{stamp}\n" for stamp in stamps))
    return str(path)


def test_a_recorded_link_delivers_1500_bytes_at_each_stamp_and_then_begins_anew(tmp_path: Path) -> None:
    profile = network.find(f"trace:{write(tmp_path, 10, 10, 30, 100)}")
    assert profile.emulated
    assert profile.trace is not None
    assert [profile.trace.moment(number) / 1e6 for number in range(6)] == [10, 10, 30, 100, 110, 110]
    assert profile.trace.first(10_000_000) == 0
    assert profile.trace.first(10_000_001) == 2
    assert profile.trace.first(100_000_000) == 3
    assert profile.trace.first(100_000_001) == 4
    assert profile.trace.kbit == pytest.approx(4 * 1_500 * 8 / 100)


@given(deliveries, st.integers(), st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 300))
def test_a_recorded_link_delivers_in_order_at_its_stamps_only(
    steps: list[tuple[int, int]], seed: int, stamps: list[int], last: int
) -> None:
    made = Trace(array("q", [*sorted(stamps), max([*stamps, last])]), "")
    link = Link(Network("it", Profile(trace="it"), "a test", None, made), seed)
    sent = arrivals(steps)
    got = [link.deliver(at, size) for at, size in sent]
    assert got == sorted(got)
    assert all(at <= perceived for (at, _), perceived in zip(sent, got, strict=True))
    carried = sum(size for _, size in sent)
    chances = made.first(got[-1] + made.period + 1) - made.first(sent[0][0])  # of any phase
    assert carried <= chances * 1_500


def test_the_gaps_of_a_recording_are_gaps_of_the_stream(tmp_path: Path) -> None:
    path = write(tmp_path, *range(1, 1_000), 3_000)  # 12 Mbit/s for a second, nothing for two
    link = Link(network.find(f"trace:{path}"), 1)
    got = [link.deliver(number * 20_000_000, 200) for number in range(600)]  # 12 s, four rounds of the recording
    gaps = [after - before for before, after in pairwise(got)]
    assert sum(gap > 500_000_000 for gap in gaps) == 4
    assert max(gaps) == pytest.approx(2 * SECOND, abs=25_000_000)


def test_a_paced_reader_of_a_recording_gets_what_it_carried(tmp_path: Path) -> None:
    link = Link(network.find(f"trace:{write(tmp_path, *range(2, 1_001, 2))}"), 1)  # 6 Mbit/s
    assert drink(link, 10, lateness=4_000_000) == pytest.approx(6e6 / 8 * 10 * 1_448 / 1_500, rel=0.03)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the trace is empty; write one time per line, in milliseconds"),
        ("0\n0\n", "the trace is empty"),
        ("1\n2.5\n", "line 2: '2.5' is not a whole number of milliseconds"),
        ("1\n\n2\n", "line 2: '' is not a whole number"),
        ("-1\n", "line 1: '-1' is not a whole number"),
        ("1 2\n", "line 1: '1 2' is not a whole number"),
        ("١\n", "is not a whole number"),
        ("9" * 400, "line 1: '9999999999999999999999999999999999999999' is not a whole number"),
        ("5\n9\n7\n", "line 3: times must not decrease: 7 after 9"),
        ("\0\1\2", "line 1: '\\x00\\x01\\x02' is not a whole number"),
    ],
)
def test_a_broken_trace_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.trace"
    path.write_text(text)
    with pytest.raises(ScenarioError) as fault:
        network.find(f"trace:{path}")
    assert str(fault.value).startswith(f"trace {path}")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_trace_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path, said in [(tmp_path / "none", "no such file"), (tmp_path, "cannot be read: Is a directory")]:
        with pytest.raises(ScenarioError, match=said):
            network.find(f"trace:{path}")


# Names


def test_an_unknown_network_is_told_with_those_that_exist() -> None:
    with pytest.raises(ScenarioError) as fault:
        network.find("slow4g", {"office": Profile()})
    known = ", ".join(NETWORKS)
    assert str(fault.value) == (
        f"no network called 'slow4g'; there are {known}, office, and trace:PATH for a recorded one"
    )
    assert all(network.find(name).name == name for name in NETWORKS)


def test_the_docs_have_every_network_with_its_numbers() -> None:
    rows = [line.split("|")[1:-1] for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    said = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows if len(cells) == 6}
    assert list(said) == list(NETWORKS)
    for name, (rates, rtt, jitter, _, source) in said.items():
        profile = NETWORKS[name].profile
        assert source == NETWORKS[name].source
        if NETWORKS[name].emulated:
            assert rates == f"{profile.down_kbit:,.0f} / {profile.up_kbit:,.0f}"
            assert (rtt, jitter) == (f"{profile.rtt / 1e6:g} ms", f"{profile.jitter / 1e6:g} ms")


def test_the_example_of_the_docs_is_a_network() -> None:
    example = DOCS.read_text().partition("```toml\n")[2].partition("```")[0]
    assert network.find("office", config.parse(example.encode()).networks).emulated


def test_a_network_of_the_config_is_found_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, 5, 10)
    text = f"""
        [networks.office]
        rtt = "20ms"
        jitter = "2ms"
        down_kbit = 5_000
        up_kbit = 1_000
        loss = 0.01
        stalls = {{ every = "1m", shortest = "500ms", longest = "5s" }}
        handovers = {{ every = "5m", resets = 1.0 }}

        [networks.train]
        rtt = "60ms"
        trace = "{path}"
    """
    networks = config.parse(text.encode()).networks
    office = network.find("office", networks)
    assert office.profile.rtt == 20_000_000
    assert office.profile.stalls == silences("1m", "500ms", "5s")
    assert office.source == "[networks.office]"
    assert network.find("train", networks).trace == network.find(f"trace:{path}").trace
    assert config.decode_networks(config.encode_networks(networks)) == networks
    with pytest.raises(ScenarioError, match=r"\[networks\.wifi\]: there is a network of that name already"):
        network.find("wifi", {"wifi": Profile()})


def test_runs_compare_by_the_numbers_of_a_network_that_is_not_ours(tmp_path: Path) -> None:
    assert network.find("3g").fingerprint == "3g@1"
    slow, slower = Profile(rtt=Duration.parse("20ms")), Profile(rtt=Duration.parse("21ms"))
    of = [network.find("office", {"office": each}).fingerprint for each in (slow, slower, slow)]
    assert of[0] == of[2] != of[1]
    assert of[0].startswith("office#")
    one, copy = write(tmp_path, 1, 2), write(tmp_path, 1, 2, name="b.trace")
    other = write(tmp_path, 1, 3, name="c.trace")
    first, second, third = (network.find(f"trace:{path}").fingerprint for path in (one, copy, other))
    assert first == second != third


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("rtt = 20", "x.toml: networks.a.rtt: 20 is no duration"),
        ("rtt = '-20ms'", "x.toml: networks.a.rtt: '-20ms' is no duration"),
        ("rtx = '20ms'", "x.toml: networks.a: no key called 'rtx'; there are rtt, jitter, down_kbit"),
        ("down_kbit = -1", "x.toml: networks.a.down_kbit: -1.0 is negative or no number; 0 means no limit"),
        ("up_kbit = nan", "x.toml: networks.a.up_kbit: nan is negative or no number"),
        ("burst_bytes = -1", "x.toml: networks.a.burst_bytes: -1 is negative"),
        ("loss = 2", "x.toml: networks.a.loss: 2.0 is no share from 0 to 0.5"),
        ("loss = -0.1", "x.toml: networks.a.loss: -0.1 is no share"),
        ("stalls = { every = '1s', shortest = '1s' }", "x.toml: networks.a.stalls: the key 'longest' is missing"),
        ("stalls = { every = '0s', shortest = '1s', longest = '1s' }", "stalls.every: must be longer than nothing"),
        ("stalls = { every = '1s', shortest = '0s', longest = '1s' }", "stalls.shortest: must be longer than nothing"),
        ("stalls = { every = '1s', shortest = '2s', longest = '1s' }", "longest: 1s is shorter than the shortest, 2s"),
        ("stalls = { every = '1s', shortest = '1s', longest = '2s', tail = -1 }", "stalls.tail: -1.0 is no number fr"),
        ("handovers = { every = '1s', resets = 1.5 }", "handovers.resets: 1.5 is no share from 0 to 1"),
        ("handovers = { every = '1s', resets = 0.5 }", "handovers.shortest: must be longer than nothing where not all"),
        ("trace = 'a.trace'\ndown_kbit = 5", "networks.a.trace: it says when the link delivers; take down_kbit"),
    ],
)
def test_a_link_that_cannot_be_is_one_line(keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        config.parse(f"[networks.ok]\nrtt = '1ms'\n[networks.a]\n{keys}".encode(), "x.toml")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
