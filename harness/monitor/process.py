"""What the monitor's own processes have in common: how they begin, what they say, and how they end."""

from collections.abc import Callable

from streamgauge.harness import interrupt
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Config
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.native import library
from streamgauge.harness.unexpected import reported


def run(config_path: str, work: Callable[[Config], None]) -> Exit:
    """Do the work until a signal: MET. MISTAKE or MISSED, and a line, for a fault that is expected or not."""
    interrupt.handle()
    try:
        library.load()
        config = load(config_path)
        with interrupt.ClearingUp():
            work(config)
    except KeyboardInterrupt:
        return Exit.MET
    except StreamgaugeError as fault:
        say(str(fault))
        return Exit.MISTAKE
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is told in one line
        say(reported(fault))
    return Exit.MISSED


def say(line: str) -> None:
    lines.warn(f"streamgauge: {line}")
