"""`python -m tests.fuzz CASES [--library PATH] [--seed N] [target …]`: so many random cases of each target."""

import argparse
import sys
import time
from pathlib import Path
from random import Random

from streamgauge.harness.native import library
from tests.fuzz.targets import TARGETS

_REPORT = 100_000  # cases


def main() -> None:
    parser = argparse.ArgumentParser(description="Run random cases of every target, or of those named.")
    parser.add_argument("cases", type=int, help="of each target")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--library", type=Path, help="the compiled C; without it, the installed one")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(TARGETS):
        sys.exit(f"no target called {sorted(unknown)[0]!r}; there are {', '.join(TARGETS)}")
    library.LIBRARY = library.load(chosen.library) if chosen.library else library.load()
    if library.LIBRARY is None:
        sys.exit("there is no compiled C to fuzz")
    for name in chosen.targets or TARGETS:
        _run(name, chosen.cases, chosen.seed)


def _run(name: str, cases: int, seed: int) -> None:
    case, began = TARGETS[name], time.monotonic()
    for number in range(cases):
        if number and number % _REPORT == 0:
            print(f"{name}: {number:,} cases", file=sys.stderr, flush=True)
        try:
            case(Random(f"{seed}/{name}/{number}"))
        except Exception:
            print(f"{name}: case {number} of seed {seed} failed", file=sys.stderr)
            raise
    print(f"{name}: {cases:,} cases in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
