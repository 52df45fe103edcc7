"""A generator that was late since its machine had other work, or since it had too much itself (issue 17, B10)."""

from collections.abc import Mapping
from pathlib import Path

from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from tests.support.record import MS, database, observation

LATE = [observation(reads=100, saturated_reads=21)] * 100


def reasons(path: Path, workers: Mapping[str, Mapping[str, float]], cpus: int = 2, host: str = "", **late: int) -> str:
    """What is said of a saturated run with these vitals in each of 20 seconds."""
    about = {name: {"host": name[:6], "cpus": cpus} for name in workers}
    fields = {"instrument": {"workers": about}} | ({"host": host} if host else {})
    with Store.open(database(path, LATE, **fields)) as store:
        rows = [
            (name, second * 1_000 * MS, vital, value)
            for name, vitals in workers.items()
            for second in range(20)
            for vital, value in {**vitals, **late}.items()
        ]
        store.append("run-1", [], rows)
        return "\n".join(judge(store).reasons)


def use(python: float, wait: float, others: float, steal: float = 0) -> dict[str, float]:
    return {
        "cpu_percent": python, "python_cpu_percent": python, "reader_cpu_percent": 0,
        "cpu_wait_percent": wait, "others_cpu_percent": others, "steal_percent": steal,
    }  # fmt: skip


def test_a_process_that_waited_while_others_worked_was_not_saturated_by_its_users(tmp_path: Path) -> None:
    said = reasons(tmp_path / "run.db", {"local": use(20, 41, 190)}, host="https://example.com")
    assert said == (
        "the generator was saturated: 21.0 % of reads came late and held several chunks; "
        "the machine was busy with other work, which used 1.9 of the 2 cores, while the generator waited for a core "
        "for 7.79 s of 19 s: end the other work, or run on another machine"
    )


def test_a_process_that_used_its_core_itself_is_told_to_use_more_processes(tmp_path: Path) -> None:
    said = reasons(tmp_path / "full.db", {"local": use(97, 3, 100)})
    assert "other work" not in said
    assert "use --processes 2 or fewer users" in said
    assert "--processes 2" in reasons(tmp_path / "own.db", {"local": use(60, 40, 10)})  # for its own threads
    assert "--processes 2" in reasons(tmp_path / "most.db", {"local": use(60, 75, 50)})
    assert "--processes 2" in reasons(tmp_path / "grain.db", {"local": use(60, 4, 100)})  # too short a wait


def test_a_long_stop_is_not_explained_by_short_waits(tmp_path: Path) -> None:
    blocking = reasons(tmp_path / "a.db", {"local": use(20, 10, 190)}, loop_stopped_ms=900)
    assert "look for blocking code in the scenario" in blocking
    assert "blocking" not in reasons(tmp_path / "b.db", {"local": use(20, 60, 190)}, loop_stopped_ms=900)


def test_the_same_explanation_is_given_once_and_names_all_processes(tmp_path: Path) -> None:
    two = {"hosts-1": use(20, 60, 130), "hosts-2": use(20, 70, 130)}  # of one machine
    said = reasons(tmp_path / "run.db", two, loop_stopped_ms=600)
    assert said.count("busy with other work") == 1
    # The other process's 0.2 cores are no other work.
    assert "which used 1.1 of the 2 cores, while 2 of 2 workers waited for a core for up to 13.3 s of 19 s" in said


def test_a_server_on_the_same_machine_and_a_host_that_withholds_cores_are_named(tmp_path: Path) -> None:
    said = reasons(tmp_path / "run.db", {"local": use(10, 30, 60, steal=40)}, host="http://127.0.0.1:8080")
    assert "which used 0.6 of the 2 cores, and the virtual machine's host withheld 0.4, while" in said
    assert "end the other work, of which the server is a part," in said


def test_a_container_that_is_stopped_at_its_limit_needs_a_higher_one(tmp_path: Path) -> None:
    said = reasons(tmp_path / "run.db", {"local": use(30, 1, 0) | {"throttled_percent": 40}})
    assert (
        "; the CPU limit of its container stopped the generator in 40.0 % of the periods (nr_throttled in cpu.stat); "
        in said
    )
    assert said.endswith("raise that limit")


def test_where_the_system_tells_nothing_nothing_is_said_of_other_work(tmp_path: Path) -> None:
    assert "--processes 2" in reasons(tmp_path / "run.db", {"local": {"cpu_percent": 20}})
