"""Child processes that end when their parent ends, however it ends: a killed command must leave no load behind."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamgauge.harness.exit_codes import Exit

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>: which signal a process gets when its parent ends. Kept across exec
_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
# For other systems: a process that kills the child when the pipe from the parent closes without a word.
_WATCHDOG = "import os, signal, sys; sys.stdin.read() or os.kill(int(sys.argv[1]), signal.SIGKILL)"


def end_with(parent: int) -> None:
    """Call it in a new child process: it gets SIGKILL when the process `parent`, which started it, ends."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(Exit.MISTAKE)


def forks_end_with_this_process() -> None:
    """From now on, processes that this process forks end with it. Their own children are not concerned."""
    parent, forked = os.getpid(), False

    def in_child() -> None:
        nonlocal forked
        if not forked:
            forked = True
            end_with(parent)

    os.register_at_fork(after_in_child=in_child)


@contextmanager
def watched(child: int) -> Iterator[None]:
    """Where the kernel does not do it: kill this child when the current process ends within the `with` block."""
    if _prctl is not None:
        yield
        return
    command = [sys.executable, "-c", _WATCHDOG, str(child)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as watchdog:
        try:
            yield
        finally:
            watchdog.communicate("the child has ended")
