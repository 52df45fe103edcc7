"""What commands print, other than tables: no other module writes to standard output or standard error by itself.

Lines may hold text from a database, a server or git: nothing in them has an effect on a terminal or on a CI's log.
"""

import sys

from streamgauge.harness.judge.wording import harmless


def show(*lines: str) -> None:
    """To standard output."""
    document("".join(f"{harmless(line)}\n" for line in lines))


def warn(*lines: str) -> None:
    """To standard error."""
    sys.stderr.write("".join(f"{harmless(line)}\n" for line in lines))
    sys.stderr.flush()


def document(text: str) -> None:
    """To standard output as it is: a CSV, JSON, … that has its own rules for text from outside."""
    sys.stdout.write(text)
    sys.stdout.flush()
