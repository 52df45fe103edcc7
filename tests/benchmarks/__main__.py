"""Run every benchmark, or those named on the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import truth

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "truth": truth.run,
}
OUT = Path("out/bench")


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark called {name!r}; there are {', '.join(BENCHMARKS)}")
        found = BENCHMARKS[name]()
        (OUT / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        print(f"{name}: " + " · ".join(f"{what} {value}" for what, value in found.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
