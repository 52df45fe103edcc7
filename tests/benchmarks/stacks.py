"""Client stacks side by side at 50 events per second and stream: the cost of an event, and the errors of the times.

The floor is a C program that only waits and reads, run on the same machine in the same round; every stack's events per
CPU-second are also given as a share of the floor's. Errors are those of the times that a stack reports (see `arena`).
For our stacks with a library, `ttft` and `itl` are the wire's times, and `handed` those at which the library hands
over.
"""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from streamgauge.harness.drive.clients import CLIENTS

from .arena import READERS, Window, handed, in_time, locust, medians, of_the_server, recorded, watch
from .server import ANSWER, TOKENS, Row, read_rows

SIZES = (50, 200, 500, 1000)
WARM_UP, SECONDS = ANSWER + 4, 2 * ANSWER  # Locust starts users once per second
ROUNDS = 3


def run(sizes: Sequence[int] = SIZES, stacks: Sequence[str] = (), rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds by size and stack; within a round, the stacks run one after another."""
    with tempfile.TemporaryDirectory() as folder:
        every = _stacks(Path(folder))
        chosen = {name: every[name] for name in (*dict.fromkeys(("floor", *stacks)),)} if stacks else every
        found: dict[str, Any] = {}
        for size in sizes:
            results = [_round(chosen, size) for _ in range(rounds)]
            for name in chosen:
                found[f"{size}_{name}"] = median = medians([result[name] for result in results])
                print(line(size, name, median), flush=True)
    return found


def _round(stacks: Mapping[str, Callable[[int], dict[str, float]]], size: int) -> dict[str, dict[str, float]]:
    """The figures of each stack, run once; the first stack is the floor."""
    figures = {name: in_time(partial(stack, size)) for name, stack in stacks.items()}
    floor = figures["floor"]["events_per_cpu_second"]
    for each in figures.values():
        each["of_the_floor"] = round(each["events_per_cpu_second"] / floor, 3)
    return figures


def _stacks(folder: Path) -> dict[str, Callable[[int], dict[str, float]]]:
    stacks = {"floor": _floor(folder)}
    for client in CLIENTS:
        stacks[client] = ours(folder, client)
    stacks["sdk_script"] = _script(folder, "sdk")
    stacks["FastHttpUser"] = _script(folder, "fast_http")
    if importlib.util.find_spec("aiohttp"):
        stacks["aiohttp"] = _aiohttp(folder)
    else:
        print("stacks: aiohttp is not installed and is left out")
    return stacks


def _floor(folder: Path) -> Callable[[int], dict[str, float]]:
    program = folder / "floor"
    subprocess.run(["cc", "-O2", "-o", program, READERS / "floor.c"], check=True)
    return floor(program)


def floor(program: Path, certificate: Sequence[Path] = ()) -> Callable[[int], dict[str, float]]:
    """The stack that is this program, compiled from `floor.c`."""

    def stack(size: int) -> dict[str, float]:
        def command(url: str) -> list[str]:
            return [str(program), url.rpartition(":")[2], str(size), str(TOKENS)]

        window = watch(command, warm_up=WARM_UP, seconds=SECONDS, certificate=certificate)
        return _figures(window, int(window.server["events"]))  # it keeps up with the server, and keeps no record

    return stack


def ours(folder: Path, client: str, certificate: Sequence[Path] = ()) -> Callable[[int], dict[str, float]]:
    def stack(size: int) -> dict[str, float]:
        database = folder / "run.db"
        database.unlink(missing_ok=True)
        window = watch(
            locust(READERS / "wire.py", size, database),
            warm_up=WARM_UP,
            seconds=SECONDS,
            environment={"BENCHMARK_CLIENT": client},
            certificate=certificate,
        )
        on_the_wire, by_library = list(recorded(database)), list(handed(database))
        events = window.events(on_the_wire if client == "wire" else by_library)
        handed_on = {f"handed_{name}": value for name, value in window.errors(by_library).items()}
        return {**_figures(window, events, on_the_wire), **handed_on}

    return stack


def _script(folder: Path, name: str) -> Callable[[int], dict[str, float]]:
    """A locustfile as people write it, without streamgauge."""

    def stack(size: int) -> dict[str, float]:
        log = folder / name
        window = watch(
            locust(READERS / f"{name}.py", size),
            warm_up=WARM_UP,
            seconds=SECONDS,
            environment={"BENCHMARK_LOG": str(log)},
        )
        return _logged(window, log)

    return stack


def _aiohttp(folder: Path) -> Callable[[int], dict[str, float]]:
    def stack(size: int) -> dict[str, float]:
        log = folder / "aiohttp"
        command = [sys.executable, "-m", "tests.benchmarks.readers.aiohttp_reader"]
        window = watch(lambda url: [*command, url, str(size), str(log)], warm_up=WARM_UP, seconds=SECONDS)
        return _logged(window, log)

    return stack


def _logged(window: Window, log: Path) -> dict[str, float]:
    seen = list(read_rows(log))
    return _figures(window, window.events(seen), seen)


def _figures(window: Window, events: int, seen: Iterable[Row] = ()) -> dict[str, float]:
    return {
        "events_per_cpu_second": round(events / window.cpu),
        "cpu_percent": round(window.cpu / (window.end - window.begin) * 1e11, 1),
        "events_per_second": round(events / (window.end - window.begin) * 1e9),
        **window.errors(seen),
        "server_late_p99_ms": window.server["late_p99_ms"],
    }


def line(size: int, name: str, found: Mapping[str, float], floor: str = "floor") -> str:
    errors = "  ".join(
        f"{which.upper()} error p99 {found[f'{which}_error_p99_ms']:.3f} ms"
        for which in ("ttft", "itl")
        if f"{which}_error_p99_ms" in found
    )
    left_out = found.get("streams_left_out", 0)
    return (
        f"stacks: {size:>5,} streams  {name:<13}{found['events_per_cpu_second']:>9,.0f} events/CPU-s "
        f"= {found['of_the_floor']:.2f} of the {floor}  {errors}  ({of_the_server(found)}"
        + (f"; {left_out:,.0f} streams left out: other tokens than sent)" if left_out else ")")
    )
