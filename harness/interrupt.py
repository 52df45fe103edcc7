"""What Ctrl-C and SIGTERM do to a command that waits for no process: they end it in one line, with exit code 3.

It imports nothing more: until the handlers stand, Python answers Ctrl-C with a traceback, and SIGTERM in silence.
"""

import os
import signal

_INTERRUPTED = 3  # Exit.INCONCLUSIVE; imported, it would take the time in which this module is needed
_raises = False  # whether a signal raises KeyboardInterrupt, so that what is under way can be cleared up


def handle() -> None:
    """Handle both signals from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


class ClearingUp:
    """In a `with` block of it, the first signal raises KeyboardInterrupt. Any other ends the process at once."""

    def __enter__(self) -> None:
        global _raises  # noqa: PLW0603 - a signal's handler knows nothing else
        _raises = True

    def __exit__(self, *_: object) -> None:
        global _raises  # noqa: PLW0603
        _raises = False


def _on_signal(*_: object) -> None:
    global _raises  # noqa: PLW0603
    if _raises:
        _raises = False
        raise KeyboardInterrupt
    os.write(2, b"streamgauge: interrupted\n")
    os._exit(_INTERRUPTED)
