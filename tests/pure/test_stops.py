"""Whose fault a stop of the soak's run was."""

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.stops import Sample, Stop, explained

QUIET = {"late": 0.1, "ran": 5.0, "waited": 0.2, "stolen": 0.0, "faults": 0}


def seen(stop_ms: float, *samples: dict[str, Any]) -> Stop:
    """A stop told at the end of a second, with these samples in the middle of it, and quiet ones around."""
    around: Sequence[dict[str, Any]] = [QUIET] * 20
    return explained(
        101.0, stop_ms, [Sample(at=100 + n / 50, **one) for n, one in enumerate([*around, *samples, *around])]
    )


def test_a_stop_while_its_threads_waited_for_a_core_is_the_machines() -> None:
    stop = seen(80, QUIET | {"waited": 40}, QUIET | {"waited": 40})
    assert not stop.own
    assert "80 ms, a busy machine's" in str(stop)


def test_a_stop_while_its_host_took_the_core_or_everything_stood_still_is_the_machines() -> None:
    assert not seen(80, QUIET | {"stolen": 60}).own
    assert not seen(80, QUIET | {"late": 75}).own


def test_a_stop_in_which_it_computed_or_slept_is_its_own() -> None:
    assert seen(80).own
    assert seen(80, QUIET | {"ran": 20}, QUIET | {"ran": 20}, QUIET | {"ran": 20}, QUIET | {"ran": 20}).own
    assert "80 ms, its own" in str(seen(80))


def test_waiting_explains_no_more_than_the_time_that_it_took() -> None:
    assert seen(200, QUIET | {"waited": 60}).own_ms > 100
    far = [QUIET | {"waited": 15}, *[QUIET] * 8]  # 75 ms in one second, of which a stop of 80 ms can hold 15
    assert seen(80, *far * 5).own, "waits that lay far apart are not the stop's"


def test_a_stop_without_samples_is_its_own() -> None:
    assert explained(101.0, 80, []).own
