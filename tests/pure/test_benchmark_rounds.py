"""Rounds of a benchmark whose own server was late."""

from collections.abc import Callable, Iterator

from tests.benchmarks.arena import in_time, medians, of_the_server


def _rounds(*late: float) -> Callable[[], dict[str, float]]:
    found: Iterator[float] = iter(late)
    return lambda: {"server_late_p99_ms": next(found)}


def test_a_round_with_a_late_server_is_repeated_twice_at_most() -> None:
    def kept(*late: float) -> float:
        return in_time(_rounds(*late))["server_late_p99_ms"]

    assert kept(3) == 3
    assert kept(150, 3) == 3
    assert kept(150, 90, 120, 3) == 90  # the fourth would be one too many


def test_a_repeated_round_is_printed(capsys) -> None:  # type: ignore[no-untyped-def]
    in_time(_rounds(150, 3))
    assert capsys.readouterr().out == "the benchmark's own server was 150 ms late (P99), so this round is repeated\n"


def test_rounds_that_kept_a_late_server_are_named_beside_the_median() -> None:
    late = medians([{"server_late_p99_ms": each} for each in (5.0, 30.0, 40.0)])
    assert late == {"server_late_p99_ms": 30.0, "rounds_with_a_late_server": 2}
    assert of_the_server(late) == "server late p99 30.0 ms; more than 20 in 2 of the rounds: not to be trusted"


def test_rounds_in_time_are_told_without_a_remark() -> None:
    found = medians([{"server_late_p99_ms": each} for each in (5.0, 6.0, 7.0)])
    assert of_the_server(found) == "server late p99 6.0 ms"
