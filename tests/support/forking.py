"""The program behind `Forks`: imports modules, then forks for each order that comes through a socket."""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import sys
import traceback
from collections.abc import Callable
from socket import recv_fds, socket
from typing import Any, NoReturn

# As they are before Locust's import replaces them with gevent's: this process runs no event loop.
_WAIT, _POLL = os.waitpid, select.poll
_LONGEST_ORDER = 1 << 17  # bytes


def main() -> None:
    del sys.path[0]  # this folder: no fork is to import from it
    orders, (module, function), others = socket(fileno=int(sys.argv[1])), sys.argv[2].split(":"), sys.argv[3:]
    called = getattr(importlib.import_module(module), function)
    for name in others:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # otherwise each fork copies all memory in its first collection
    news: dict[int, tuple[int, int]] = {}  # a fork's pidfd → its pid, and where to write its exit code
    poll = _POLL()
    poll.register(orders, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in news:
                poll.unregister(ready)
                _tell(ready, *news.pop(ready))
                continue
            text, files, _, _ = recv_fds(orders, _LONGEST_ORDER, 3)
            if not text:
                return
            pid = os.fork()  # gevent's, if it was imported: a fork has an event loop of its own
            if pid == 0:
                _close(orders.fileno(), *news, *(to for _, to in news.values()))
                _become(called, json.loads(text), files)
            pidfd = os.pidfd_open(pid)
            news[pidfd] = pid, files[0]
            poll.register(pidfd, select.POLLIN)
            os.write(files[0], b"%d\n" % pid)
            _close(*files[1:])


def _tell(pidfd: int, pid: int, news: int) -> None:
    code = os.waitstatus_to_exitcode(_WAIT(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # if nobody waits for it
        os.write(news, b"%d\n" % code)
    _close(news, pidfd)


def _close(*files: int) -> None:
    for file in files:
        os.close(file)


def _become(called: Callable[[], Any], order: dict[str, Any], files: list[int]) -> NoReturn:
    os.dup2(files[1], 1)
    os.dup2(files[2], 2)
    _close(*files)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["words"]
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
