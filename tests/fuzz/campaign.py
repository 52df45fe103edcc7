"""Many cases of several targets, in batches, in one process for each core, within a time limit."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from random import Random
from typing import NamedTuple

from tests.fuzz.targets import TARGETS

_BATCH = 1_000  # cases
_REPORT = 60.0  # seconds between two lines of progress


class Batch(NamedTuple):
    target: str
    first: int  # number of its first case
    cases: int
    seed: int


class Found(NamedTuple):
    asked: int  # cases
    cases: int
    seconds: float
    differences: list[str]  # a sentence for each, which says how to repeat it
    crashes: list[Batch]  # in one of these batches a process died; the sanitizers' report is on standard error

    @property
    def clean(self) -> bool:
        return not self.differences and not self.crashes

    def __str__(self) -> str:
        short = "" if self.cases == self.asked else f" of {self.asked:,}, for the time was over"
        return (
            f"{self.cases:,} cases{short} in {self.seconds:.0f} s: {len(self.differences)} differences, "
            f"{int(bool(self.crashes))} crashes"
        )


def run(cases: Mapping[str, int], seed: int, limit: float, processes: int | None = None) -> Found:
    """So many cases of each of these targets; after `limit` seconds, no new batch begins. Ends at the first crash."""
    began, done, differences, crashes = time.monotonic(), 0, list[str](), list[Batch]()
    processes, told = processes or os.cpu_count() or 1, began
    todo = _batches(cases, seed)
    with ProcessPoolExecutor(processes) as pool:
        running: dict[Future[tuple[int, str]], Batch] = {}
        while not crashes:
            if time.monotonic() - began < limit and not differences:
                running |= {pool.submit(_run, batch): batch for batch in islice(todo, 2 * processes - len(running))}
            if not running:
                break
            ended = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in ended):
                crashes = list(running.values())
                break
            results = [future.result() for future in ended]
            running = {future: batch for future, batch in running.items() if future not in ended}
            done += sum(number for number, _ in results)
            differences += [difference for _, difference in results if difference]
            if time.monotonic() - told > _REPORT:
                told = time.monotonic()
                print(f"{done:,} of {sum(cases.values()):,} cases", file=sys.stderr, flush=True)
    return Found(sum(cases.values()), done, time.monotonic() - began, differences, crashes)


def _batches(cases: Mapping[str, int], seed: int) -> Iterator[Batch]:
    """In turns, so that each target has had its share whenever the time is over."""
    waiting = [
        iter([Batch(name, first, min(_BATCH, number - first), seed) for first in range(0, number, _BATCH)])
        for name, number in cases.items()
    ]
    while waiting:
        for batches in list(waiting):
            batch = next(batches, None)
            if batch is None:
                waiting.remove(batches)
            else:
                yield batch


def _run(batch: Batch) -> tuple[int, str]:
    """How many cases were run, and what the last of them showed to be wrong; "": nothing."""
    case = TARGETS[batch.target]
    for number in range(batch.first, batch.first + batch.cases):
        try:
            case(Random(f"{batch.seed}/{batch.target}/{number}"))
        except Exception as fault:  # noqa: BLE001 - whatever it is, the two do not agree
            words = f"{type(fault).__name__} {fault}"
            return number + 1 - batch.first, f"{batch.target}: case {number} of seed {batch.seed}: {words[:2_000]}"
    return batch.cases, ""
