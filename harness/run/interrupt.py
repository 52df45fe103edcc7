"""Ctrl-C in a process that runs Locust."""

import gevent


def interrupt_main() -> None:
    """Raise KeyboardInterrupt in the greenlet that runs Locust's main function.

    Without this, gevent would raise it in whichever greenlet happens to run, and print a traceback.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())
