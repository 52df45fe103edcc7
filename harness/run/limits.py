"""What this machine must have for a number of users. Limits that a system does not tell are not checked."""

import os
import resource
from contextlib import suppress
from pathlib import Path

from streamgauge.harness.counting import some
from streamgauge.harness.errors import MachineError

_OTHER_FILES = 48  # descriptors for all but users: the database, the event loops, workers, the metrics page, the report
_MOST_FILES = 1 << 20
_BYTES = 100_000  # of a user with a stream under way, approximately
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MEMORY = (  # the limit and the use of this process's control group, in version 2 and 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def raise_open_files() -> None:
    """Let this process open as many files as it may. Each user's connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def check(users: int) -> None:
    """MachineError if this process cannot have a connection for each of so many users."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = users + _OTHER_FILES
    if files != resource.RLIM_INFINITY and needed > files:
        raise MachineError(
            f"{some(users, 'user needs', 'users need')} {needed:,} file descriptors, and a process may "
            f"open {files:,} here: `ulimit -n {needed}`, more --processes, or fewer users"
        )
    ports = _ports()
    if ports is not None and users > ports:
        raise MachineError(
            f"{some(users, 'user needs', 'users need')} a local port each, and {_PORTS} gives {ports:,}: "
            f"widen it, use more machines, or fewer users"
        )
    memory = _memory()
    if memory is not None and users * _BYTES > memory:
        raise MachineError(
            f"{some(users, 'user needs', 'users need')} about {users * _BYTES >> 20:,} MiB of memory, "
            f"and this control group has {memory >> 20:,} MiB left: raise its limit, or use fewer users"
        )


def _ports() -> int | None:
    with suppress(OSError, ValueError):
        first, last = map(int, _PORTS.read_text().split())
        return last - first + 1
    return None


def _memory() -> int | None:
    """Bytes that the control group may still use. None: unknown, or without a limit below the machine's memory."""
    for limit, used in _MEMORY:
        with suppress(OSError, ValueError):  # "max" is no number
            most = int(limit.read_text())
            machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            return most - int(used.read_text()) if most < machine else None
    return None
