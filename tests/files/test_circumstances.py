"""The panel that shows how a run was made, and the health of the processes that drove it."""

from pathlib import Path
from typing import Any

from streamgauge.harness.judge.store import Store
from streamgauge.reports.material import gather
from streamgauge.reports.panel import Panel, Table
from streamgauge.reports.panels import circumstances
from tests.support.record import MS, database, ttfts

WORKERS: dict[str, Any] = {
    "local": {"host": "here", "pid": 7, "cpus": 2, "stamps": "kernel", "streams": 1_200, "clock_drift_ns": 2 * MS},
    "worker-0": {
        "host": "there", "pid": 8, "cpus": 4, "stamps": "python", "streams": 3, "cpu_max": 97.44,
        "loop_lag_max_ms": 12.06, "connect_lag_max_ms": 36.04, "gc_pause_max_ms": 4.0,
        "clock_offset_ns": -250 * MS, "clock_doubt_ns": MS,
        "clock_drift_ns": 0,
    },
    "worker-1": {"streams": 5},
}  # fmt: skip


def drawn(path: Path, seconds: range = range(0), **fields: Any) -> Panel:
    """The panel of a run of 10 s, with a sample of each vital of two processes in each of these seconds."""
    with Store.open(database(path, ttfts([200] * 20), **fields)) as store:
        for worker, more in (("worker-0", 0), ("worker-1", 50)):
            store.append(
                "run-1", [], [(worker, second * 1_000 * MS, "cpu_percent", second + more) for second in seconds]
            )
        return circumstances.draw(gather(store))


def table(panel: Panel, caption: str) -> Table:
    return next(table for table in panel.tables if table.caption.startswith(caption))


def test_each_process_that_drove_users_has_a_row(tmp_path: Path) -> None:
    panel = drawn(tmp_path / "one.db", instrument={"stamps": "kernel", "workers": WORKERS})
    assert table(panel, "3 processes drove the users").rows == [
        ("local", "here, process 7", "2", "kernel", "1,200", "–", "–", "–", "–", "the run’s own, stepped by 2.00 ms"),
        (
            "worker-0",
            "there, process 8",
            "4",
            "python",
            "3",
            "97.4 %",
            "12.1 ms",
            "36 ms",
            "4 ms",
            "-250 ms ahead, ± 1.00 ms",
        ),
        ("worker-1", "–", "–", "–", "5", "–", "–", "–", "–", "the run’s own"),
    ]
    assert table(panel, "Instrument").rows == [("stamps", "kernel")], "the processes are not listed a second time"


def test_the_generator_s_health_is_shown_over_time_by_its_busiest_process(tmp_path: Path) -> None:
    rows = table(drawn(tmp_path / "one.db", range(1, 10)), "The generator over time").rows
    assert rows[0][1:] == ("51 %", "–", "–"), "1 s is in the second twelfth of 10 s; the first had no reading"
    assert rows[-1][1:] == ("59 %", "–", "–")


def test_a_short_run_has_no_chart_and_a_run_of_a_day_has_a_chart_with_few_points(tmp_path: Path) -> None:
    assert drawn(tmp_path / "short.db", range(1, 10)).charts == ()
    path = database(tmp_path / "long.db", ttfts([200] * 20))
    with Store.open(path) as store:
        store.append("run-1", [], [("local", at * 10_000 * MS, "cpu_percent", at % 90) for at in range(8_640)])
        store.finish_run("run-1", ended_ns=86_400_000 * MS, status="finished")
        (chart,) = circumstances.draw(gather(store)).charts
    assert [len(trace.x) for trace in chart.figure.data] == [240, 240]
    assert max(chart.figure.data[0].y) == 89


def test_a_run_without_samples_of_vitals_shows_no_health(tmp_path: Path) -> None:
    panel = drawn(tmp_path / "one.db")
    assert panel.charts == ()
    assert not any(table.caption.startswith(("The generator over", "0 processes")) for table in panel.tables)


def test_how_late_connections_were_noticed_is_told_as_the_generator_s_own(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", ttfts([200] * 20))) as store:
        store.append(
            "run-1", [], [("local", at * 1_000 * MS, "connect_lag_ms", lag) for at, lag in enumerate((0, 0, 36))]
        )
        panel = circumstances.draw(gather(store))
    assert ("Connect lag, most in each second", "0 ms", "36 ms", "36 ms", "36 ms", "3 seconds") in table(
        panel, "The generator"
    ).rows


def test_the_accuracy_of_the_machine_is_shown_with_each_load_that_was_measured(tmp_path: Path) -> None:
    point = {
        "streams": 1_000, "processes": 1, "tls": True, "open": 1.0, "compared": 1.0, "ttft_error_p99": 0.1,
        "itl_error_p50": 0.01, "itl_error_p99": 0.02, "events_per_second": 45_000, "events_per_cpu_second": 60_000,
        "server_late_p99": 1, "saturated_share": 0,
    }  # fmt: skip
    points = [point, {**point, "streams": 2_000, "itl_error_p99": 20.0}]
    certificate = {"made_at": "2026-01-02T03:04:05+00:00", "valid_for": {"machine": "here"}, "points": points}
    panel = drawn(tmp_path / "one.db", instrument={"stamps": "kernel", "certificate": certificate})
    assert table(panel, "Accuracy of the machine that recorded the run, as it was measured on 2026-01-02").rows == [
        ("1", "TLS", "1,000", "45,000", "0.100 ms", "0.020 ms", "yes"),
        ("1", "TLS", "2,000", "45,000", "0.100 ms", "20.0 ms", "no: off by more than 1 ms"),
    ]
    assert table(panel, "Instrument").rows == [("stamps", "kernel")]
    damaged = drawn(tmp_path / "two.db", instrument={"certificate": {**certificate, "points": [{"streams": "many"}]}})
    assert not any(table.caption.startswith("Accuracy") for table in damaged.tables)


def test_the_accuracy_of_workers_on_other_machines_is_told_by_machine(tmp_path: Path) -> None:
    here, there = ({"host": host, "resolution": said} for host, said in (("here", "± 0.1 ms"), ("there", "± 7 ms")))
    caption = "Accuracy of each machine"
    workers = {"worker-0": here, "worker-1": here, "worker-2": there}
    panel = drawn(tmp_path / "far.db", instrument={"resolution": "± 0.1 ms", "workers": workers})
    assert table(panel, caption).rows == [("here", "± 0.1 ms"), ("there", "± 7 ms")]
    near = drawn(tmp_path / "near.db", instrument={"resolution": "± 0.1 ms", "workers": {"worker-0": here}})
    assert not any(table.caption.startswith(caption) for table in near.tables)
