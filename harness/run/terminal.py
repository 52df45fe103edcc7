"""The terminal of a process that runs Locust: our own lines on it, and Ctrl-C."""

import sys

import gevent

from streamgauge.harness.judge.wording import harmless


def say(line: str) -> None:
    """Write a line to standard error, where Locust's log goes too. Control characters in it have no effect."""
    sys.stderr.write(f"{harmless(line)}\n")
    sys.stderr.flush()


def interrupt_main() -> None:
    """Raise KeyboardInterrupt in the greenlet that runs Locust's main function.

    Without this, gevent would raise it in whichever greenlet happens to run, and print a traceback.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def end_main(code: int) -> None:
    """End the process with this exit code, by raising SystemExit in the greenlet that runs Locust's main function."""
    gevent.get_hub().handle_system_error(SystemExit, SystemExit(code))
