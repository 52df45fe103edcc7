"""A certificate: which load its points certify, for which machine it is valid, and what may stand in its file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamgauge.harness.calibration import kept, machine, measurement, sizing
from streamgauge.harness.calibration.kept import Known
from streamgauge.harness.calibration.sizing import Planned
from streamgauge.harness.errors import MachineError, StoreError
from streamgauge.harness.record.certificate import Certificate, Point
from tests.benchmarks import cores
from tests.support.command import invoke


def point(streams: int, error: float, processes: int = 1, tls: Any = False, **fields: Any) -> Point:
    return Point(
        **{
            "streams": streams, "processes": processes, "tls": tls, "open": 1.0, "compared": 1.0,
            "ttft_error_p99": error / 2, "itl_error_p50": 0.01, "itl_error_p99": error,
            "events_per_second": 46 * streams, "events_per_cpu_second": 5_000, "server_late_p99": 1.0,
            "saturated_share": 0.0, **fields,
        }
    )  # fmt: skip


def certificate(*points: Point, **valid_for: str) -> Certificate:
    return Certificate(
        made_at="2026-01-02T03:04:05+00:00", valid_for={**machine.facts(), **valid_for}, points=list(points)
    )


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_load_is_certified_if_it_and_all_smaller_ones_were_exact() -> None:
    made = certificate(point(1000, 0.4), point(50, 0.03), point(500, 7.0), point(200, 0.2))
    carried = made.carried(1, tls=False)
    assert carried is not None
    assert carried.point.streams == 200
    assert list(made.sentences()) == ["± 0.2 ms up to 200 streams of 46 events/s in 1 process"]


def test_a_load_that_other_programs_disturbed_says_so() -> None:
    assert point(50, 7.0).doubt == "off by more than 1 ms"
    assert (
        point(50, 7.0, used_by_others=0.64).doubt
        == "off by more than 1 ms, while other programs used 64 % of the cores"
    )
    assert not point(50, 0.3, used_by_others=0.64).doubt, "exact in spite of them"


def test_processes_and_tls_are_certified_separately() -> None:
    made = certificate(
        point(50, 0.1),
        point(50, 0.3, tls=True),
        point(200, 9.0, tls=True),
        point(800, 0.4, 8),
        point(100, 2, 8, tls=True),
    )
    assert list(made.sentences()) == [
        "± 0.1 ms up to 50 streams of 46 events/s in 1 process",
        "± 0.3 ms up to 50 streams of 46 events/s in 1 process over TLS",
        "± 0.4 ms up to 800 streams of 46 events/s in 8 processes",
        "nothing is certified for 8 processes over TLS",
    ]


@pytest.mark.parametrize("doubtful", [{"open": 0.9}, {"compared": 0.98}, {"ttft_error_p99": 1.01}])
def test_a_load_that_was_not_there_or_not_compared_is_not_certified(doubtful: dict[str, float]) -> None:
    made = certificate(point(50, 0.1, 1, False, **doubtful))
    assert not made.certifies
    assert made.points[0].doubt


@pytest.mark.usefixtures("state")
def test_a_certificate_is_found_again_and_not_on_another_machine_or_version() -> None:
    assert kept.known() == (None, "not calibrated: run `streamgauge calibrate`")
    kept.keep(certificate(point(50, 0.1)))
    assert kept.known() == (certificate(point(50, 0.1)), "")
    kept.keep(certificate(point(50, 0.1), kernel="Linux 2.0"))
    found, why = kept.known()
    assert found is None
    assert why.startswith("the calibration of 2026-01-02 does not apply: kernel was Linux 2.0, is ")
    kept.keep(certificate(point(50, 0.1), fpga="yes"))
    assert kept.known().why.endswith("fpga was yes, is unknown; run `streamgauge calibrate` again")


def _fifo(place: Path) -> None:
    os.mkfifo(place)


def _changed(**fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(certificate(point(50, 0.1))), **fields})


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "a folder": Path.mkdir,
    "a FIFO": _fifo,
    "huge": lambda place: place.write_bytes(b" " * (1 << 20) + b"{}"),
    "empty": lambda place: place.write_bytes(b""),
    "not UTF-8": lambda place: place.write_bytes(b'{"schema": "\xff"}'),
    "deep": lambda place: place.write_bytes(b"[" * 100_000),
    "another document": lambda place: place.write_bytes(b'{"schema": "streamgauge/result/1"}'),
    "a list": lambda place: place.write_bytes(b"[]"),
    "NaN": lambda place: place.write_bytes(_changed().replace(b"0.01", b"NaN")),
    "infinite": lambda place: place.write_bytes(_changed().replace(b"0.01", b"1e999")),
    "negative": lambda place: place.write_bytes(_changed().replace(b"0.01", b"-0.01")),
    "other types": lambda place: place.write_bytes(_changed(points=[{"streams": "many"}])),
    "too many points": lambda place: place.write_bytes(_changed(points=[msgspec.to_builtins(point(50, 0.1))] * 101)),
    "no facts": lambda place: place.write_bytes(_changed(valid_for={})),
    "unreadable": lambda place: place.touch(mode=0),
}


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_no_certificate_and_stops_nobody(what: str) -> None:
    kept.path().parent.mkdir()
    HOSTILE[what](kept.path())
    found, why = kept.known()
    assert found is None
    assert "\n" not in why
    assert "calibrat" in why


def test_without_a_home_folder_there_is_no_certificate_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setattr(Path, "home", no_home)
    assert kept.known().why.startswith("not calibrated: this user has no home folder: set HOME")
    with pytest.raises(MachineError), kept.only_calibration():
        pass


def test_where_nothing_can_be_kept_a_calibration_does_not_begin(state: Path) -> None:
    (state / "streamgauge").touch()
    with pytest.raises(StoreError, match="cannot be written"), kept.only_calibration():
        pass
    with pytest.raises(StoreError, match=r"certificate\.json: cannot be written"):
        kept.keep(certificate(point(50, 0.1)))


@pytest.mark.usefixtures("state")
def test_a_second_calibration_waits_for_nobody_and_does_not_begin() -> None:
    with (
        kept.only_calibration(),
        pytest.raises(MachineError, match="another calibration is running"),
        kept.only_calibration(),
    ):
        pass
    with kept.only_calibration():
        pass


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("streams", ["50,many", "0", "-5,10", "1e9", "99999", "", ",".join(map(str, range(1, 20)))])
def test_a_mistake_in_the_numbers_is_one_line(streams: str) -> None:
    ended = invoke("calibrate", "--streams", streams)
    assert ended.exit_code == 2
    assert ended.output.startswith(f"streamgauge: --streams {streams!r}: ")
    assert ended.output.count("\n") == 1


def test_servers_and_processes_have_cores_of_their_own_where_there_are_enough() -> None:
    one, every = measurement.layouts([*range(16)], 16)
    assert (one.processes, one.generator, one.servers) == (1, [15], [[0]])
    assert (every.processes, len(every.servers), every.shared) == (8, 8, False)
    assert not {*every.generator} & {core for cores in every.servers for core in cores}
    assert measurement.layouts([0, 1], 2)[1].shared, "too few cores: both are slower, and that is what is certified"
    assert len(measurement.layouts([3], 1)) == 1
    assert measurement.layouts([*range(64)], 4)[1].generator == [2, 3], "a container that may use the time of four"
    assert measurement.layouts([], 8)[1].servers == [[]] * 4, "macOS tells no cores: the system places the processes"


MADE = Known(certificate(point(500, 0.1), point(1000, 0.2), point(4000, 0.3, 8), point(250, 0.1, tls=True)), "")
NONE = Known(None, "not calibrated: run `streamgauge calibrate`")


@pytest.mark.parametrize(
    ("known", "users", "tls", "processes", "said"),
    [
        (MADE, 10, False, 1, ""),
        (MADE, 500, False, 1, ""),
        (MADE, 900, False, 1, "900 users in 1 process: exact up to 1,000 on this machine, at 46 events/s each"),
        (MADE, 1_200, False, 1, "1,200 users in 1 process: exact up to 1,000 on this machine, at 46 events/s each; "
         "use --processes 3, which carries 1,500"),
        (MADE, 1_200, False, 3, "1,200 users in 3 processes: exact up to 1,500 on this machine, at 46 events/s each"),
        (MADE, 5_000, False, 12, "5,000 users in 12 processes: exact up to 6,000 on this machine, at 46 events/s each, "
         "reckoned from 8 processes"),
        (MADE, 90_000, False, 4, "90,000 users in 4 processes: exact up to 2,000 on this machine, at 46 events/s each; "
         "this machine carries 8,000 in 16 processes, reckoned from 8 processes: use more machines, or fewer users"),
        (MADE, 300, True, 1, "300 users over TLS in 1 process: exact up to 250 on this machine, at 46 events/s each; "
         "use --processes 2, which carries 500"),
        (NONE, 250, False, 1, ""),
        (NONE, 251, False, 1, "251 users in 1 process: not calibrated: run `streamgauge calibrate`"),
        (Known(certificate(point(50, 0.1)), ""), 300, True, 1,
         "300 users over TLS in 1 process: calibrated only without TLS: run `streamgauge calibrate`"),
        (Known(certificate(point(50, 9.0)), ""), 30, False, 1,
         "30 users in 1 process: no load was exact in 1 process when this machine was calibrated; "
         "use more machines, or fewer users"),
    ],
)  # fmt: skip
def test_a_run_is_told_what_the_machine_carries_only_where_it_could_be_close(
    known: Known, users: int, tls: bool, processes: int, said: str
) -> None:
    assert sizing.sentence(known, Planned(users, tls), processes, cores=16) == said


@pytest.mark.parametrize(
    ("known", "users", "cores", "count", "why"),
    [
        (MADE, 10, 16, 1, "1 for 10 users, by this machine's calibration"),
        (MADE, 1_001, 16, 3, "3 for 1,001 users, by this machine's calibration"),
        (MADE, 90_000, 16, 16, "16 for 90,000 users, by this machine's calibration"),
        (NONE, 1, 2, 1, "1 for 1 user, by the default of 500 users for each process"),
        (NONE, 501, 2, 2, "2 for 501 users, by the default of 500 users for each process"),
        (NONE, 90_000, 2, 2, "2 for 90,000 users, by the default of 500 users for each process, "
         "as many as there are cores"),
        (NONE, None, 4, 4, "4, one for each core: how many users there will be is not known yet"),
        (Known(certificate(point(50, 9.0)), ""), 700, 4, 2,
         "2 for 700 users, by the default of 500 users for each process"),
    ],
)  # fmt: skip
def test_automatic_processes_are_those_that_the_load_needs_and_no_more_than_cores(
    known: Known, users: int | None, cores: int, count: int, why: str
) -> None:
    planned = None if users is None else Planned(users, tls=False)
    assert sizing.automatic(known, planned, cores) == (count, why)


def test_users_of_a_client_library_are_not_promised_what_the_wire_client_carries() -> None:
    planned = Planned(100, tls=False, client="httpx")
    assert sizing.sentence(MADE, planned, 1, 16) == (
        "100 users with the client httpx in 1 process: about 166 on this machine, by the calibration of the wire client"
    )
    assert sizing.automatic(MADE, Planned(200, tls=False, client="httpx"), 16)[0] == 3
    assert sizing.automatic(NONE, planned, 16) == (
        2, "2 for 100 users with the client httpx, by the default of 83 users for each process"
    )  # fmt: skip


def test_processes_that_did_worse_together_than_one_alone_are_not_used() -> None:
    """On two cores that also serve, two processes can carry less than one has carried on a core of its own."""
    known = Known(certificate(point(1000, 0.2), point(250, 0.3, 2), point(500, 30.0, 2)), "")
    assert sizing.automatic(known, Planned(1_200, tls=False), 2)[0] == 1
    assert sizing.sentence(known, Planned(1_200, tls=False), 2, 2).endswith(
        "; this machine carries 1,000 in 1 process: use more machines, or fewer users"
    )


def test_the_benchmark_of_many_cores_is_skipped_with_a_line_where_there_are_fewer_than_four(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cores.run(3) == {"skipped": "3 of at least 4 cores"}
    assert capsys.readouterr().out.startswith("cores: skipped: this machine has 3, and it takes 4 ")
