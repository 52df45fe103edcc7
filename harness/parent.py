"""Child processes that end when their parent ends, however it ends: a killed command must leave no load behind."""

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamgauge.harness.exit_codes import Exit

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>: which signal a process gets when its parent ends. Kept across exec
_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
# For other systems: a process that reads a child's id, and kills the child when the pipe closes without another word.
_WATCHDOG = """
import os, signal, sys
child = sys.stdin.readline()
if child and not sys.stdin.read():
    os.kill(int(child), signal.SIGKILL)
"""


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
def ending_with_this_process() -> Iterator[Callable[[], None]]:
    """Gives what one child process calls before its program begins, to end with this one; the `with` block outlasts it.

    Where the kernel does not see to it, a watchdog does. It is there before the child, which names itself to it: no
    child is without one, however soon this process ends.
    """
    parent = os.getpid()
    if _prctl is not None:
        yield functools.partial(end_with, parent)
        return
    command = [sys.executable, "-c", _WATCHDOG]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as watchdog:
        assert watchdog.stdin is not None
        pipe = watchdog.stdin.fileno()  # the child has it, too, until its program begins

        def in_child() -> None:
            os.write(pipe, b"%d\n" % os.getpid())
            end_with(parent)

        try:
            yield in_child
        finally:
            watchdog.communicate("the child has ended")
