"""Lines for the person at the terminal, beside Locust's own log."""

import sys


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
