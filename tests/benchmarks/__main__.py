"""Run every benchmark, or those named on the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import (
    blobs,
    burst,
    capacity,
    cores,
    doctor,
    fuzz,
    gate,
    locust_events,
    memory,
    month,
    processes,
    reference,
    scale,
    shaped,
    stacks,
    tls,
    truth,
)

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "truth": truth.run,
    "stacks": stacks.run,
    "tls": tls.run,
    "burst": burst.run,
    "processes": processes.run,
    "cores": cores.run,
    "reference": reference.run,
    "shaped": shaped.run,
    "memory": memory.run,
    "month": month.run,
    "locust_events": locust_events.run,
    "scale": scale.run,
    "gate": gate.run,
    "capacity": capacity.run,
    "capacity_rate": capacity.run_rate,
    "blobs": blobs.run,
    "fuzz": fuzz.run,
    "doctor": doctor.run,
}
OUT = Path("out/bench")


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark called {name!r}; there are {', '.join(BENCHMARKS)}")
        found = BENCHMARKS[name]()
        (OUT / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        plain = [f"{what} {value}" for what, value in found.items() if not isinstance(value, dict | list)]
        if plain:
            print(f"{name}: " + " · ".join(plain))


if __name__ == "__main__":
    main(sys.argv[1:])
