"""The streamgauge command as the fixtures call it: a process, and keyword arguments as its options."""

import sys
from collections.abc import Iterable, Mapping

COMMAND = [sys.executable, "-c", "from streamgauge.harness.cli import main; main(prog_name='streamgauge')"]


def flags(options: Mapping[str, object]) -> Iterable[str]:
    """`spawn_rate=10, label=["a=b"]` as the command's options; None is left out."""
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                yield from (f"--{name.replace('_', '-')}", str(one))
