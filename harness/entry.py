"""Where the `streamgauge` command begins: signals are handled before anything else is imported, which takes a while."""

import atexit
import gc
import os

from streamgauge.harness import interrupt


def main() -> None:
    interrupt.handle()
    # Imports and rows are objects by the hundred thousand, and no garbage: by default, Python would search them again
    # for each 700 that are new, and several times at its exit. Both take a twentieth of the time.
    gc.set_threshold(500_000)
    atexit.register(gc.freeze)
    from streamgauge.harness import standard_output  # noqa: PLC0415 - only now

    # Nothing here multiplies matrices, and numpy's threads for that cost start-up time and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    standard_output.watch()
    from streamgauge.harness.cli import main as command  # noqa: PLC0415 - only now

    command()
