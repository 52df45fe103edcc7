"""What Ctrl-C, SIGTERM and a terminal that closes do to a command: they end it in one line, with exit code 3.

It imports nothing more: until the handlers stand, Python answers Ctrl-C with a traceback, and SIGTERM in silence.
"""

import errno
import os
import signal

_INTERRUPTED = 3  # Exit.INCONCLUSIVE; imported, it would take the time in which this module is needed
_raises = False  # whether a signal raises KeyboardInterrupt, so that what is under way can be cleared up


def endings() -> tuple[int, ...]:
    """The signals that end a command. SIGHUP comes when its terminal closes; `nohup` has it ignored, for good."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))


def leave_closed_terminal() -> None:
    """Read and write nothing where the terminal has closed: the last words, which nobody reads, are no fault then."""
    for standard in (0, 1, 2):
        try:
            os.get_terminal_size(standard)
        except OSError as fault:
            if fault.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_RDWR), standard)


def handle() -> None:
    """Handle these signals from now on."""
    for number in endings():
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
    leave_closed_terminal()
    if _raises:
        _raises = False
        raise KeyboardInterrupt
    os.write(2, b"streamgauge: interrupted\n")
    os._exit(_INTERRUPTED)
