"""Names of the vitals, and when a server counts as idle."""

import msgspec
import pytest

from streamgauge.harness.record.idleness import idle_level
from streamgauge.harness.record.vitals import Vital, VitalSample


def test_stored_names_stay_as_they_are_so_that_old_databases_can_be_read() -> None:
    assert [str(vital) for vital in Vital] == [
        "users", "active_streams", "streams_begun", "held_streams", "starved_streams", "own_faults",
        "arrivals", "dropped_arrivals", "connect_lag_ms", "late_connections",
        "cpu_percent", "python_cpu_percent", "reader_cpu_percent",
        "cpu_wait_percent", "others_cpu_percent", "steal_percent", "throttled_percent",
        "loop_lag_ms", "loop_stopped_ms", "gc_pause_ms", "clock_drift_ns",
        "server_active", "server_generated",
    ]  # fmt: skip


def test_every_vital_has_a_unit_and_a_meaning() -> None:
    assert all(vital.unit and vital.meaning for vital in Vital)


def test_a_process_s_summary_has_the_worst_value_of_some_vitals() -> None:
    assert {vital.worst_as for vital in Vital if vital.worst_as} == {
        "connect_lag_max_ms", "cpu_max", "loop_lag_max_ms", "gc_pause_max_ms", "clock_drift_ns",
    }  # fmt: skip


def test_a_sample_is_sent_to_the_master_under_its_stored_name() -> None:
    packed = msgspec.msgpack.encode(VitalSample(5, Vital.LOOP_LAG, 1.5))
    assert msgspec.msgpack.decode(packed) == [5, "loop_lag_ms", 1.5]
    assert msgspec.msgpack.decode(packed, type=VitalSample).vital is Vital.LOOP_LAG


@pytest.mark.parametrize(
    ("active", "generated", "level"),
    [
        ([], [], None),
        ([0.0], [], 0.0),
        ([3.0], [100.0], 3.0),  # one sample does not show whether the counter moves
        ([4.0, 3.0], [100.0, 130.0], 3.0),  # somebody else uses the server
        ([4.0, 4.0], [100.0, 100.0], 0.0),  # nothing is generated: the gauge is stale
        ([4.0, 3.0], [], 3.0),
    ],
)
def test_a_server_is_idle_when_it_is_no_busier_than_before_our_first_stream(
    active: list[float], generated: list[float], level: float | None
) -> None:
    assert idle_level(active, generated) == level
