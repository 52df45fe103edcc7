"""What Ctrl-C and SIGTERM do to a command that waits for no process: they end it in one line, with exit code 3."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPTED = 3  # Exit.INCONCLUSIVE; imported, it would take the time in which this module is needed
_raises = False  # whether a signal raises KeyboardInterrupt, so that what is under way can be cleared up


def handle() -> None:
    """Handle both signals from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


@contextmanager
def clearing_up() -> Iterator[None]:
    """In this block, the first signal raises KeyboardInterrupt. Any other ends the process at once."""
    global _raises  # noqa: PLW0603 - a signal's handler knows nothing else
    _raises = True
    try:
        yield
    finally:
        _raises = False


def _on_signal(*_: object) -> None:
    global _raises  # noqa: PLW0603
    if _raises:
        _raises = False
        raise KeyboardInterrupt
    os.write(2, b"streamgauge: interrupted\n")
    os._exit(_INTERRUPTED)
