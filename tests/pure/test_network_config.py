"""Links of one's own: recorded traces and numbers in streamgauge.toml, and what is wrong with them in one line."""

from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Profile
from streamgauge.harness.drive import network
from streamgauge.harness.drive.network import NETWORKS, Link, Network
from streamgauge.harness.drive.network.trace import Trace
from streamgauge.harness.errors import ConfigError, ScenarioError
from tests.support.links import SECOND, arrivals, deliveries, drink, silences

DOCS = Path(__file__).parents[2] / "docs/reference/networks.md"


def test_the_window_of_a_recorded_link_follows_from_its_capacity(tmp_path: Path) -> None:
    path = write(tmp_path, *range(1, 101))  # 12 Mbit/s
    train = network.find("train", {"train": Profile(rtt=Duration.parse("100ms"), trace=path)})
    assert train.window == 12_000 * 100 / 8 / 4


# Recorded links


def write(folder: Path, *stamps: object, name: str = "a.trace") -> str:
    path = folder / name
    path.write_text("".join(f"{stamp}\n" for stamp in stamps))
    return str(path)


def test_a_recorded_link_delivers_1500_bytes_at_each_stamp_and_then_starts_over(tmp_path: Path) -> None:
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


def test_a_paced_reader_of_a_recording_gets_its_capacity(tmp_path: Path) -> None:
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


def test_the_error_for_an_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError) as fault:
        network.find("slow4g", {"office": Profile()})
    known = ", ".join(NETWORKS)
    assert str(fault.value) == (
        f"no network called 'slow4g'; there are {known}, office, and trace:PATH for a recorded one; "
        "did you mean 'slow_4g'?"
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
    assert network.find("office", parse(example.encode()).networks).emulated


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
    networks = parse(text.encode()).networks
    office = network.find("office", networks)
    assert office.profile.rtt == 20_000_000
    assert office.profile.stalls == silences("1m", "500ms", "5s")
    assert office.source == "[networks.office]"
    assert network.find("train", networks).trace == network.find(f"trace:{path}").trace
    with pytest.raises(ScenarioError, match=r"\[networks\.wifi\]: there is already a network of that name"):
        network.find("wifi", {"wifi": Profile()})


def test_the_fingerprint_of_a_users_own_network_follows_from_its_numbers(tmp_path: Path) -> None:
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
        ("rtt = 20", "x.toml: networks.a.rtt: 20 is not a duration"),
        ("rtt = '-20ms'", "x.toml: networks.a.rtt: '-20ms' is not a duration"),
        ("rtx = '20ms'", "x.toml: networks.a: no key called 'rtx'; there are rtt, jitter, down_kbit"),
        ("down_kbit = -1", "x.toml: networks.a.down_kbit: -1.0 is negative or infinite: 0 means no limit"),
        ("up_kbit = nan", "x.toml: networks.a.up_kbit: nan is negative or infinite"),
        ("burst_bytes = -1", "x.toml: networks.a.burst_bytes: -1 is negative"),
        ("loss = 2", "x.toml: networks.a.loss: 2.0 is not a share from 0 to 0.5"),
        ("loss = -0.1", "x.toml: networks.a.loss: -0.1 is not a share"),
        ("stalls = { every = '1s', shortest = '1s' }", "x.toml: networks.a.stalls: the key 'longest' is missing"),
        ("stalls = { every = '0s', shortest = '1s', longest = '1s' }", "stalls.every: must be more than 0"),
        ("stalls = { every = '1s', shortest = '0s', longest = '1s' }", "stalls.shortest: must be more than 0"),
        ("stalls = { every = '1s', shortest = '2s', longest = '1s' }", "longest: 1s is shorter than the shortest, 2s"),
        ("stalls = { every = '1s', shortest = '1s', longest = '2s', tail = -1 }", "stalls.tail: -1.0 is not a number"),
        ("handovers = { every = '1s', resets = 1.5 }", "handovers.resets: 1.5 is not a share from 0 to 1"),
        ("handovers = { every = '1s', resets = 0.5 }", "handovers.shortest: must be more than 0 unless every"),
        ("trace = 'a.trace'\ndown_kbit = 5", "networks.a.trace: it says when the link delivers: remove down_kbit"),
    ],
)
def test_an_invalid_link_is_reported_in_one_line(keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse(f"[networks.ok]\nrtt = '1ms'\n[networks.a]\n{keys}".encode(), "x.toml")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
