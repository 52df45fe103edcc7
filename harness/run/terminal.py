"""The terminal of a process that runs Locust: our own lines on it, and Ctrl-C."""

import sys

import gevent


def say(line: str) -> None:
    """Write a line to standard error, where Locust's log goes too."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def interrupt_main() -> None:
    """Raise KeyboardInterrupt in the greenlet that runs Locust's main function.

    Without this, gevent would raise it in whichever greenlet happens to run, and print a traceback.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())
