"""What Linux tells of a process's CPU: read from files as other machines have them, and from this one's."""

import os
import sys
from pathlib import Path

import pytest

from streamgauge.harness.drive.cpu import Cpu
from streamgauge.harness.record.vitals import Vital

OF_PROCESS = {Vital.CPU_PERCENT, Vital.PYTHON_PERCENT, Vital.READER_PERCENT}


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("told", "file"),
    [
        ("0::/\n", "cpu.stat"),  # version 2, in a container
        ("0::/user.slice/run\n", "user.slice/run/cpu.stat"),
        ("9:name=systemd:/\n3:cpu,cpuacct:/\n0::/\n", "cpu,cpuacct/cpu.stat"),  # version 1
        ("3:cpu:/docker/abc\n", "cpu/cpu.stat"),  # a container that is not told its own place
    ],
)
def test_a_control_group_that_stops_the_process_is_seen(tmp_path: Path, told: str, file: str) -> None:
    write(tmp_path, "proc/self/cgroup", told)
    write(tmp_path, f"sys/fs/cgroup/{file}", "nr_periods 100\nnr_throttled 10\nthrottled_usec 5\n")
    cpu = Cpu(tmp_path)
    write(tmp_path, f"sys/fs/cgroup/{file}", "nr_periods 110\nnr_throttled 14\nthrottled_usec 5\n")
    assert cpu.percent()[Vital.THROTTLED_PERCENT] == 40


@pytest.mark.parametrize("text", [None, "", "cpu0", "nonsense of\nsome kind\n", "cpu0 a b c d e f g h\n"])
def test_a_system_that_tells_nothing_leaves_the_vitals_absent(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        for name in ("proc/stat", "proc/self/cgroup", f"proc/{os.getppid()}/stat", "proc/self/task/7/schedstat"):
            write(tmp_path, name, text)
    cpu = Cpu(tmp_path)
    assert cpu.percent().keys() == OF_PROCESS


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_this_machine_tells_who_else_used_its_cores() -> None:
    cpu = Cpu()
    found = cpu.percent()
    assert found.keys() >= {*OF_PROCESS, Vital.OTHERS_PERCENT, Vital.STEAL_PERCENT}
    assert all(value >= 0 for value in found.values())
