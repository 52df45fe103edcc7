"""How many cores this process may use: a container may limit the time on them, and not their number."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# The limit of a control group, in version 2 and 1: a quota of 200000 in a period of 100000 is two cores.
_QUOTAS = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))


def usable(root: Path = Path("/")) -> int:
    """How many cores this process may use: those that it may run on, or fewer if a control group limits their time.

    `root`: the folder of /proc and /sys.
    """
    return min([len(places()) or os.cpu_count() or 1, *_quotas(root)])


def places() -> list[int]:
    """The numbers of the cores that this process may run on; empty where the system does not tell, as on macOS."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def control_groups(root: Path) -> Iterator[Path]:
    """The folder of this process's control group, then those of the groups around it, in version 2 or 1.

    A container sees its own group at the top. OSError and ValueError where the system has no control groups.
    """
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top, inside = root / "sys/fs/cgroup" / controllers, Path(group.lstrip("/"))
            yield from (top / place for place in (inside, *inside.parents))


def _quotas(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for folder in control_groups(root):
            for files in _QUOTAS:
                yield from _quota([folder / file for file in files])


def _quota(files: list[Path]) -> Iterator[int]:
    with suppress(OSError, ValueError):  # without a limit, the quota is "max" or -1
        quota, period = map(int, " ".join(file.read_text() for file in files).split())
        if quota > 0 < period:
            yield math.ceil(quota / period)
