"""The program behind `Forks`: imports modules once an order comes to its door, and forks for each order.

An order is a connection. It gets the fork's process id and then its exit code; whoever closes it kills the fork.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from socket import recv_fds, socket
from typing import Any, NoReturn

# As they are before Locust's import replaces them with gevent's: this process runs no event loop.
_WAIT, _POLL, _SOCKET = os.waitpid, select.poll, socket
_LONGEST_ORDER = 1 << 17  # bytes
_MOST_FILES = 6  # of an order
_LIFE = 0  # the descriptor that closes when the tests end


FIRST = "STREAMGAUGE_TEST_FIRST"  # in a program's environment, if it computes before others: its level, see `busy`
SPACE = "STREAMGAUGE_TEST_SPACE"  # in a program's environment, if it runs on another machine: its network namespace
# In the environment of a run: where it writes its exit code, and what a search for a capacity orders.
DESCRIPTORS = ("STREAMGAUGE_TOLD", "STREAMGAUGE_LEVELS")


class _Forking:
    def __init__(self, door: int, called: Callable[[], Any]) -> None:
        self._door = _SOCKET(fileno=door)
        self._called = called
        self._orders: dict[int, tuple[int, socket]] = {}  # a fork's pidfd → its pid, and the connection of its order
        self._pids: dict[int, int] = {}  # an order's connection, while it is open → the fork's pid
        self._poll = _POLL()

    def serve(self) -> None:
        """Take orders until the tests end."""
        for file in (self._door.fileno(), _LIFE):
            self._poll.register(file, select.POLLIN)
        while True:
            for ready, _ in self._poll.poll():
                if ready == _LIFE:
                    return
                if ready == self._door.fileno():
                    self._take()
                elif ready in self._orders:
                    self._ended(ready)
                elif ready in self._pids:
                    self._abandoned(ready)

    def _take(self) -> None:
        order = _SOCKET(fileno=self._door._accept()[0])  # type: ignore[attr-defined]  # `accept` would give gevent's
        text, files, _, _ = recv_fds(order, _LONGEST_ORDER, _MOST_FILES)
        if not text:
            order.close()
            return
        pid = os.fork()  # gevent's, if it was imported: a fork has an event loop of its own
        if pid == 0:
            _close(self._door.fileno(), order.fileno(), *self._orders, *self._pids)
            _become(self._called, json.loads(text), files)
        _close(*files)
        pidfd = os.pidfd_open(pid)
        self._orders[pidfd], self._pids[order.fileno()] = (pid, order), pid
        for file in (pidfd, order.fileno()):
            self._poll.register(file, select.POLLIN)
        _tell(order, pid)

    def _ended(self, pidfd: int) -> None:
        pid, order = self._orders.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(_WAIT(pid, 0)[1])
        if self._pids.pop(order.fileno(), None):
            self._poll.unregister(order)
            _tell(order, code)
        order.close()

    def _abandoned(self, order: int) -> None:
        self._poll.unregister(order)
        os.kill(self._pids.pop(order), signal.SIGKILL)


def awaited(door: int) -> bool:
    """Wait for the first order: False if the tests end without a need for this program."""
    first = _POLL()
    for file in (door, _LIFE):
        first.register(file, select.POLLIN)
    return _LIFE not in dict(first.poll())


def serve(door: int, called: Callable[[], Any]) -> None:
    """Fork for each order, and call this in each fork, until the tests end."""
    gc.collect()
    gc.freeze()  # otherwise each fork copies all memory in its first collection
    _Forking(door, called).serve()


def main() -> None:
    del sys.path[0]  # this folder: no fork is to import from it
    door, (module, function), others = int(sys.argv[1]), sys.argv[2].split(":"), sys.argv[3:]
    if awaited(door):
        called: Callable[[], Any] = getattr(importlib.import_module(module), function)
        for name in others:
            importlib.import_module(name)
        serve(door, called)


def _tell(order: socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # it was closed just now, which the next poll reports
        order.send(b"%d" % number)


def _close(*files: int) -> None:
    for file in files:
        os.close(file)


def before_others(level: int) -> None:
    """Have this thread, and what it starts, compute before all of a lower level and of an ordinary priority."""
    with contextlib.suppress(PermissionError):  # mostly root alone may do so
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(level))


def move_to(space: str) -> None:
    """Move this thread, and what it starts, into a network namespace."""
    with open(f"/run/netns/{space}") as there:  # noqa: PTH123
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), f"cannot move to {space}")


def _become(called: Callable[[], Any], order: dict[str, Any], files: list[int]) -> NoReturn:
    given, output, errors, *more = files
    for place, file in enumerate((given, output, errors)):
        os.dup2(file, place)
    _close(given, output, errors)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if FIRST in os.environ:
        before_others(int(os.environ[FIRST]))
    if SPACE in os.environ:
        move_to(os.environ[SPACE])
    for name in DESCRIPTORS:  # they have other numbers here
        if name in os.environ:
            count = len(os.environ[name].split(","))
            os.environ[name], more = ",".join(map(str, more[:count])), more[count:]
    sys.argv = order["words"]
    sys.executable = order["python"] or sys.executable
    code: Any = 1
    try:
        code = called() or 0
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an ordinary exit would collect garbage and copy all memory, too


if __name__ == "__main__":
    main()
