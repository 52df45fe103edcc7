"""`python -m tests.fuzz CASES [--library PATH] [--seed N] [target[=CASES] …]`: so many random cases of each target."""

import argparse
import json
import sys
from pathlib import Path

from streamgauge.harness.native import library
from tests.fuzz import campaign
from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description="Run random cases of every target, or of those named.")
    parser.add_argument("cases", type=int, help="of each target")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; none: all. blobs=60: 60 of it")
    parser.add_argument("--library", type=Path, help="the compiled C; without it, the installed one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=900.0, help="after this time, no new cases begin")
    parser.add_argument("--processes", type=int, help="default: one for each core")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    chosen = parser.parse_args()
    named = dict(each.partition("=")[::2] for each in chosen.targets)
    if unknown := set(named) - set(TARGETS):
        sys.exit(f"no target called {sorted(unknown)[0]!r}; there are {', '.join(TARGETS)}")
    library.LIBRARY = library.load(chosen.library) if chosen.library else library.load()
    if library.LIBRARY is None:
        sys.exit("there is no compiled C to fuzz")
    cases = {name: int(own) if own else chosen.cases for name, own in (named or dict.fromkeys(TARGETS, "")).items()}
    found = campaign.run(cases, chosen.seed, chosen.seconds, chosen.processes)
    for line in [*found.differences, *(f"a process died in one of these: {batch}" for batch in found.crashes)]:
        print(line, file=sys.stderr)
    print(f"{', '.join(cases)}: {found}")
    if chosen.json:
        counts = {"cases": found.cases, "seconds": round(found.seconds)}
        chosen.json.write_text(
            json.dumps(counts | {"differences": len(found.differences), "crashes": int(bool(found.crashes))})
        )
    sys.exit(not found.clean)


if __name__ == "__main__":
    main()
