"""Whether a run can be believed, by the time that its processes lost and the arrivals that it dropped."""

from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.judge.verdict.validity import Validity
from tests.support.record import MS, a_run, database, judged, new_store, observation, ttfts

GOOD = ttfts(range(100, 400), output_tokens=3)


def with_vitals(path: Path, name: str, *values: float, worker: str = "worker-0") -> Judgement:
    """A good run with these samples of a vital of one process, one a second."""
    with Store.open(database(path, GOOD)) as store:
        store.append("run-1", [], [(worker, second * 1_000 * MS, name, value) for second, value in enumerate(values)])
        return judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")]))


def stops(path: Path, seconds: float, *stops_ms: float) -> Judgement:
    """A good run of one process of this length, sampled every second, and after each stop instead if that is longer."""
    every = min(1.0, seconds)
    rows = [("local", 0, "loop_stopped_ms", 0.0)]
    at = 0.0
    waiting = list(stops_ms)
    while at < seconds:
        stop = waiting.pop(0) if waiting else 0.0
        at = min(at + max(every, stop / 1e3), seconds)
        rows.append(("local", int(at * 1_000 * MS), "loop_stopped_ms", stop))
    assert not waiting
    with Store.open(database(path, GOOD)) as store:
        store.append("run-1", [], rows)
        return judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")]))


@pytest.mark.parametrize(
    ("seconds", "stops_ms", "validity"),
    [
        (24, [0, 8_985, 0], Validity.INVALID),  # one stop of nine seconds is one sample
        (24, [0] * 15 + [8_985], Validity.INVALID),  # also at the very end
        (24, [0, 1_000, 0], Validity.DEGRADED),
        (24, [0, 300, 0], Validity.VALID),  # a spike
        (60, [60] * 60, Validity.DEGRADED),  # a second in every ten seconds
        (60, [120] * 60, Validity.INVALID),
        (2, [300], Validity.INVALID),  # a run too short to have many samples
        (2, [100], Validity.DEGRADED),
        (2, [0], Validity.VALID),
        (0.2, [60], Validity.DEGRADED),  # judged as if it took a second
    ],
)
def test_stops_of_the_event_loop_count_by_the_time_that_they_took(
    tmp_path: Path, seconds: float, stops_ms: list[float], validity: Validity
) -> None:
    result = stops(tmp_path / "one.db", seconds, *stops_ms)
    assert result.validity is validity
    assert (result.verdict == "invalid") is (validity is Validity.INVALID)
    stopped = f"{sum(stops_ms) / 1e3:.3g} s of {max(seconds, 1.0):.3g} s"
    said = f"the generator stood still for {stopped}, for 50 ms or more at a time"
    assert [reason.startswith(said) for reason in result.reasons] == [True] * (validity is not Validity.VALID)


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        (0, "users paused up to 310 ms longer between their streams, and departures and timeouts came as late"),
        (100, "streams, departures and timeouts that were due meanwhile came up to 310 ms late"),
    ],
)
def test_a_generator_that_stood_still_says_what_came_late_and_by_how_much(
    tmp_path: Path, arrivals: int, said: str
) -> None:
    samples = {"loop_stopped_ms": 310.0, "loop_lag_ms": 310.0, "arrivals": arrivals}
    with Store.open(database(tmp_path / "one.db", GOOD)) as store:
        for name, value in samples.items():
            store.append("run-1", [], [("local", second * 1_000 * MS, name, value) for second in range(20)])
        (reason,) = [each for each in judge(store).reasons if "stood still" in each]
    assert f"for 50 ms or more at a time: {said}; " in f"{reason}; "


def test_stops_in_a_run_of_an_older_version_are_at_least_its_longest_lags_and_collections(tmp_path: Path) -> None:
    late = with_vitals(tmp_path / "late.db", "loop_lag_ms", *[1] * 9, *[250] * 11)
    assert (late.verdict, late.validity) == ("invalid", Validity.INVALID)
    assert late.reasons[0].startswith("worker-0 stood still for 2.75 s of 19 s")
    assert with_vitals(tmp_path / "small.db", "loop_lag_ms", *[49] * 20).validity is Validity.VALID


def test_a_process_that_is_busy_for_long_degrades_the_run_and_a_spike_does_not(tmp_path: Path) -> None:
    for name, samples, said in (
        ("long.db", [*[30] * 10, *[97] * 10], "10 s of 19 s"),
        ("short.db", [97, 97, 97], "2 s of 2 s"),
        ("spike.db", [30, 97, 97, 97, 30, 30, 30], ""),
        ("rare.db", [*[30] * 90, *[97] * 9], ""),
    ):
        result = with_vitals(tmp_path / name, "cpu_percent", *samples)
        expected = Validity.DEGRADED if said else Validity.VALID
        assert (result.verdict, result.validity) == ("met", expected), name
        if said:
            assert result.reasons[0].startswith(f"worker-0 used 90 % of a core or more for {said}")


def test_a_busy_second_that_took_nine_counts_as_nine(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", GOOD)) as store:
        samples = [(1, 20.0), (2, 20.0), (11, 99.0), (24, 20.0)]
        store.append("run-1", [], [("local", s * 1_000 * MS, "cpu_percent", value) for s, value in samples])
        assert judge(store).reasons[0].startswith("the generator used 90 % of a core or more for 9 s of 24 s")


def test_requests_that_were_sent_late_count_by_their_share_of_the_ttft(tmp_path: Path) -> None:
    # Of 20 streams a second, those of a stop of nine seconds were sent when it was over.
    late = [observation([("text", 100 + lag)], send_lag=int(lag * MS)) for lag in range(9_000, 0, -50)]
    in_time = [observation([("text", 100)], send_lag=0)] * 300
    stopped = judged(tmp_path / "stopped.db", late + in_time, "error_rate < 100%")
    assert stopped.verdict == "invalid"
    assert "94.4 % of their mean" in stopped.reason
    few = judged(tmp_path / "few.db", [observation(send_lag=20 * MS)] * 2 + [observation(send_lag=0)] * 98)
    assert few.validity is Validity.DEGRADED


def test_one_busy_process_among_idle_ones_is_named(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", GOOD)) as store:
        for worker, load in (("worker-0", 20.0), ("worker-1", 99.0), ("worker-2", 20.0)):
            store.append("run-1", [], [(worker, second, "cpu_percent", load) for second in range(30)])
        reasons = judge(store).reasons
    assert [reason.split()[0] for reason in reasons] == ["worker-1"]


def test_threads_are_judged_apart_where_the_process_has_more_than_one_core(tmp_path: Path) -> None:
    def reasons(name: str, cpus: int, python: float, reader: float) -> list[str]:
        instrument = {"workers": {"local": {"host": "h", "cpus": cpus}}}
        use = {"cpu_percent": python + reader, "python_cpu_percent": python, "reader_cpu_percent": reader}
        rows = [(float(second), vital, value) for second in range(30) for vital, value in use.items()]
        return sampled(tmp_path / f"{name}.db", *rows, instrument=instrument).reasons

    assert reasons("two", 2, 70, 60) == []
    (python,) = reasons("python", 4, 95, 60)
    assert python.startswith("Python's thread of the generator used 90 % of a core or more for 29 s of 29 s")
    assert python.endswith("use --processes 2 or fewer users")
    (reader,) = reasons("reader", 2, 70, 95)
    assert reader.startswith("the reading thread of the generator used 90 %")
    (whole,) = reasons("one", 1, 50, 45)
    assert whole.startswith("the generator used 90 %")
    assert whole.endswith("use fewer users, or workers on more machines: there is no core left here")


def test_the_same_trouble_of_several_workers_is_one_reason(tmp_path: Path) -> None:
    workers = {f"worker-{number}": {"host": "h", "cpus": 16} for number in range(9)}
    with Store.open(database(tmp_path / "one.db", GOOD, instrument={"workers": workers})) as store:
        for number, worker in enumerate(workers):
            rows = [(worker, second * 1_000 * MS, "cpu_percent", 95.0) for second in range(20 + number)]
            rows += [(worker, second * 1_000 * MS, "loop_stopped_ms", 60.0) for second in range(20)]
            store.append("run-1", [], rows)
        reasons = judge(store).reasons
    assert [reason.partition(":")[0] for reason in reasons] == [
        "9 of 9 workers stood still for up to 1.2 s of 19 s, the longest at worker-0, for 50 ms or more at a time",
        "9 of 9 workers used 90 % of a core or more for up to 19 s of 19 s, the longest at worker-0",
    ]
    assert all(reason.endswith("use --processes 16 or fewer users") for reason in reasons)


def test_connections_that_were_noticed_late_count_by_the_streams_whose_ttft_they_are_in(tmp_path: Path) -> None:
    def reasons(name: str, *late: float) -> tuple[Validity, list[str]]:
        with Store.open(database(tmp_path / f"{name}.db", [observation([("text", 100)])] * 100)) as store:
            rows = [("local", second * 1_000 * MS, "late_connections", value) for second, value in enumerate(late)]
            rows += [("local", second * 1_000 * MS, "connect_lag_ms", 36.0) for second in range(len(late))]
            store.append("run-1", [], rows)
            result = judge(store)
        return result.validity, result.reasons

    assert reasons("none", 0, 1, 1) == (Validity.VALID, [])
    validity, (some,) = reasons("some", 0, 4, 5)
    assert validity is Validity.DEGRADED
    assert some.startswith(
        "the generator connected late: the generator noticed 5 connections 10 ms or more after the kernel had them "
        "(at most 36.0 ms), which is part of the TTFT of 5.0 % of the streams"
    )
    assert reasons("many", 0, 20)[0] is Validity.INVALID


def sampled(path: Path, *rows: tuple[float, str, float], **fields: Any) -> Judgement:
    """A good run of one process with these samples: seconds, name, value."""
    with Store.open(database(path, GOOD, **fields)) as store:
        store.append("run-1", [], [("local", int(s * 1_000 * MS), name, value) for s, name, value in rows])
        return judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")]))


def test_streams_without_a_socket_and_failures_of_the_recording_make_a_run_invalid(tmp_path: Path) -> None:
    for name, said in (
        ("starved_streams", "the generator had no socket, port, memory or thread for 3 streams"),
        ("own_faults", "the recording of local failed 3 times"),
    ):
        result = sampled(tmp_path / f"{name}.db", (1, name, 0), (2, name, 3), (3, name, 3))
        assert (result.verdict, result.reason[: len(said)]) == ("invalid", said)
        assert sampled(tmp_path / f"none-{name}.db", (1, name, 0), (2, name, 0)).verdict == "met"
    failed = sampled(tmp_path / "greenlet.db", instrument={"faults": ["ValueError: it"]})
    assert failed.reason == "a part of the run's own machinery failed: ValueError: it"


def test_a_run_that_exits_with_2_for_a_mistake_is_not_met(tmp_path: Path) -> None:
    mistakes = {"mistakes": ["the scenario's own code raised: KeyError"]}
    result = judged(tmp_path / "one.db", GOOD, "max(ttft) < 1s", instrument=mistakes)
    assert (result.validity, result.reason) == (Validity.INVALID, "the scenario's own code raised: KeyError")


def test_a_process_that_stopped_sampling_itself_makes_a_run_invalid_unless_it_measured_a_stop(tmp_path: Path) -> None:
    name = "loop_stopped_ms"
    silent = sampled(tmp_path / "silent.db", *[(s, name, 0) for s in (0, 1, 2, 9, 100)])
    assert silent.reason == "the generator recorded nothing of itself for 98 s of 100 s"
    stopped = sampled(tmp_path / "stopped.db", (0, name, 0), (1, name, 0), (10, name, 8_900), (100, name, 89_900))
    assert not [reason for reason in stopped.reasons if "recorded nothing" in reason]


@pytest.mark.parametrize(
    ("dropped", "validity"),
    [(0, Validity.VALID), (1, Validity.DEGRADED), (5, Validity.DEGRADED), (6, Validity.INVALID)],
)
def test_a_run_that_dropped_arrivals_is_degraded_and_with_more_than_5_percent_invalid(
    dropped: int, validity: Validity, tmp_path: Path
) -> None:
    with new_store(tmp_path / "run.db") as store:
        store.start_run(a_run())
        arrived = [("worker-0", 40, 0), ("worker-1", 30, 0), ("worker-0", 60, dropped), ("worker-1", 40, 0)]
        for second, (worker, arrivals, lost) in enumerate(arrived):
            at = second * 1_000 * MS
            store.append("run-1", [], [(worker, at, "arrivals", arrivals), (worker, at, "dropped_arrivals", lost)])
        store.append("run-1", ttfts([200] * 99, send_lag=MS) + ttfts([200], send_lag=11 * MS))
        store.finish_run("run-1", ended_ns=10_000 * MS, status="finished")
        found = judge(store)
    assert found.validity is validity
    assert found.rates["drop_rate"].value == dropped / 100
    assert found.rates["late_rate"].value == 0.01
    assert any(reason.startswith(f"{dropped} of 100 arrivals") for reason in found.reasons) is (dropped > 0)
