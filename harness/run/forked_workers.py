"""The workers that `--processes` forks. Locust waits without end for one that has ended before the run began."""

import os

import gevent

from streamgauge.harness.programs import ending

_workers: list[int] = []  # their process ids, in the process that forked them


def remember() -> None:
    """From now on, know the processes that Locust forks."""
    fork = gevent.fork

    def remembered() -> int:
        pid: int = fork()
        if pid:
            _workers.append(pid)
        else:
            _workers.clear()
        return pid

    gevent.fork = remembered


def one_ended() -> str | None:
    """How one of them ended, such as "was killed by SIGKILL"; None while all of them run."""
    for pid in _workers:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return ending(os.waitstatus_to_exitcode(status))
    return None
