"""The wire client over TLS, beside itself without, and beside a C program that reads TLS with OpenSSL: the floor.

The floor is compiled here, where OpenSSL's headers are (Debian: libssl-dev); without them there is none.
"""

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.hostile import certificate

from .arena import READERS, in_time, medians
from .stacks import ROUNDS, floor, line, ours

SIZES = (500, 1000)


def run(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds by size and stack; within a round, the stacks run one after another."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = _stacks(Path(folder))
        found: dict[str, Any] = {}
        for size in sizes:
            results = [_round(stacks, size) for _ in range(rounds)]
            for name in stacks:
                found[f"{size}_{name}"] = median = medians([result[name] for result in results])
                print(line(size, name, median, "TLS floor" if "tls_floor" in stacks else "plain wire"), flush=True)
            share = medians([result["tls_wire"] for result in results])["of_plain"]
            found[f"{size}_tls_of_plain"] = share
            print(f"tls: {size:>5,} streams  TLS reaches {share:.2f} of plain", flush=True)
    return found


def _stacks(folder: Path) -> dict[str, Callable[[int], dict[str, float]]]:
    signed = certificate(folder)
    stacks = {"wire": ours(folder, "wire"), "tls_wire": ours(folder, "wire", signed)}
    program = folder / "tls_floor"
    command = ["cc", "-O2", "-DTLS", "-o", str(program), str(READERS / "floor.c"), "-lssl", "-lcrypto"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        print("tls: no floor, since OpenSSL's headers are not installed (Debian: libssl-dev)")
    else:
        stacks["tls_floor"] = floor(program, signed)
    return stacks


def _round(stacks: Mapping[str, Callable[[int], dict[str, float]]], size: int) -> dict[str, dict[str, float]]:
    figures = {name: in_time(partial(stack, size)) for name, stack in stacks.items()}
    plain = figures["wire"]["events_per_cpu_second"]
    lowest = figures.get("tls_floor", figures["wire"])["events_per_cpu_second"]
    for each in figures.values():
        each["of_the_floor"] = round(each["events_per_cpu_second"] / lowest, 3)
        each["of_plain"] = round(each["events_per_cpu_second"] / plain, 3)
    return figures
