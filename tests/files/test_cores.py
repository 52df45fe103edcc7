"""How many cores a process may use: from files as control groups write them, and from this machine's."""

from pathlib import Path

import pytest

from streamgauge.harness import cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("told", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "100000 100000\n"}, 1, id="a container with one core"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 2, id="one core and a half"),
        pytest.param("0::/\n", {"cpu.max": "20000 100000\n"}, 1, id="a fifth of a core"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, 4, id="no limit"),
        pytest.param("0::/\n", {"cpu.max": "900000 100000\n"}, 4, id="a limit above the cores"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n"}, 1, id="its own group, seen from outside"),
        pytest.param(
            "0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2, id="a group around it"
        ),
        pytest.param("0::/a/b\n", {"cpu.max": "100000 100000\n"}, 1, id="a container that shows the host's names"),
        pytest.param(
            "9:name=systemd:/x\n3:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
            id="version 1",
        ),
        pytest.param(
            "3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, id="version 1, free"
        ),
        pytest.param("0::/\n", {"cpu.max": "nonsense\n"}, 4, id="a file that says nothing"),
        pytest.param("nonsense\n", {"cpu.max": "100000 100000\n"}, 4, id="groups that are not told"),
        pytest.param(None, {}, 4, id="no control groups"),
    ],
)  # fmt: skip
def test_a_control_group_limits_the_cores(
    tmp_path: Path, told: str | None, files: dict[str, str], expected: int
) -> None:
    for name, text in ({} if told is None else {"proc/self/cgroup": told}).items():
        _write(tmp_path / name, text)
    for name, text in files.items():
        _write(tmp_path / "sys/fs/cgroup" / name, text)
    assert cores.usable(tmp_path) == expected
    assert cores.places() == [0, 1, 2, 5]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_machine_has_a_core() -> None:
    assert 1 <= cores.usable() <= max(1, len(cores.places()))
