"""Where the process of a run begins: `python -m streamgauge.harness.run`, as the commands start it."""

import gc
from importlib import metadata


def main() -> None:
    # As in `harness.entry`, before the imports: searching what they make for garbage is a tenth of their time.
    gc.set_threshold(50_000)
    # Once, and not each of the 25 times that gevent asks while Locust has it patch the standard library: a fifth of a
    # second.
    metadata.entry_points = metadata.entry_points().select
    from streamgauge.harness.run.process import main as run  # noqa: PLC0415 - only now

    run()


if __name__ == "__main__":
    main()
