"""The machine and the software that a calibration is valid for, and how many cores this process may use."""

import math
import os
import platform
import ssl
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from streamgauge import __version__
from streamgauge.harness.native import library

_PACKAGES = ("locust", "gevent", "msgspec", "numpy")  # what the load generator's speed depends on
_CPUINFO = Path("/proc/cpuinfo")
# The limit of this process's control group, in version 2 and 1: a quota of 200000 in a period of 100000 is two cores.
_QUOTAS = (
    (Path("/sys/fs/cgroup/cpu.max"),),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)
_LONGEST = 200  # characters of one fact


def cores() -> int:
    """How many cores this process may use: those that it may run on, or fewer if a container limits their time."""
    return min([len(places()) or os.cpu_count() or 1, *_quota()])


def places() -> list[int]:
    """The numbers of the cores that this process may run on; empty where the system does not tell, as on macOS."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def facts() -> dict[str, str]:
    """If any of these changes, a calibration is no longer valid."""
    found = {
        "machine": platform.node(),
        "processor": f"{_processor()}, {cores()} cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "streamgauge": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        **{name: metadata.version(name) for name in _PACKAGES},
        "reader": "compiled" if library.LIBRARY else "python",
    }
    return {name: fact[:_LONGEST] for name, fact in found.items()}


def _quota() -> Iterator[int]:
    for files in _QUOTAS:
        with suppress(OSError, ValueError):  # without a limit, the quota is "max" or -1
            quota, period = map(int, " ".join(file.read_text() for file in files).split())
            if quota > 0 < period:
                yield math.ceil(quota / period)


def _processor() -> str:
    with suppress(OSError, UnicodeDecodeError), _CPUINFO.open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown processor"
