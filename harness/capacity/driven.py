"""The run that a search drives: one Locust process from the first level to the last, told what to do through pipes."""

import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from streamgauge.harness import programs
from streamgauge.harness.capacity.guards import Ended
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import kinds
from streamgauge.harness.run import orders
from streamgauge.harness.run.launch import locustfile
from streamgauge.harness.run.options import locust_options
from streamgauge.harness.run.orders import Began, End, Ends, Lines, Rate, Reached, Users

_AT_A_TIME = 65_536  # bytes
_STARTS = 60.0  # seconds until the run has begun: Locust and the scenario are imported, workers connect
_ENDS = 60.0  # seconds until the run is over: its users are stopped, the last rows are stored


@dataclass(frozen=True, slots=True)
class Work:
    """What the users do."""

    scenario: str
    options: Mapping[str, Any]  # by their names in `run.options`
    passed_on: Sequence[str] = ()  # to Locust, as it is


class Mistaken(Exception):
    """The run could not begin. Without a text, its process has said why."""


class Driven:
    def __init__(self, process: "subprocess.Popen[str]", ends: Ends) -> None:
        self._process = process
        self._ends = ends
        self._lines = Lines(orders.Report)
        self.run = ""  # its id
        self.reached: Reached | None = None  # the last

    def begin(self) -> None:
        """Wait until the run has begun. Mistaken if it does not."""
        give_up = time.monotonic() + _STARTS
        while not self.run:
            try:
                self.wait(0.1)
            except Ended:
                raise Mistaken(self._died()) from None
            if time.monotonic() > give_up:
                raise Mistaken(
                    f"the run did not begin within {_STARTS:.0f} s: start the scenario with `streamgauge run`"
                )

    def _died(self) -> str:
        """How the run's process ended, if not with the code of a mistake, which it has explained itself."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_ENDS)
            return "" if code == Exit.MISTAKE else f"the run's process ended before the run began, with code {code}"
        return "the run's process hangs"

    def load(self, unit: Unit, load: int) -> None:
        """Have this load from now on; `reached` says when it is there."""
        self.reached = None
        self._send(Rate(load) if unit is Unit.RATE else Users(load))

    def wait(self, seconds: float) -> None:
        """Take what the run says within this time. Ended if the run is over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._ends.reads], [], [], left)[0]:
                if self._process.poll() is not None:  # whatever it left behind may still hold the pipe
                    raise Ended("")
                return
            data = os.read(self._ends.reads, _AT_A_TIME)
            if not data:
                raise Ended("")  # the database says why
            for report in self._lines.messages(data):
                if isinstance(report, Began):
                    self.run = report.run
                else:
                    self.reached = report

    def end(self, found: Mapping[str, Any]) -> None:
        """End the run, which stores what was found. Returns when it has ended.

        Ctrl-C meanwhile does not lose the answer: it ends the run sooner.
        """
        with suppress(Ended, KeyboardInterrupt):
            self._send(End(dict(found)))
        for ask in (None, self._process.terminate, self._process.kill):
            if ask is not None:
                ask()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                self._process.wait(_ENDS)
                return

    def _send(self, order: Users | Rate | End) -> None:
        try:
            self._ends.send(order)
        except OSError:
            raise Ended("") from None


@contextmanager
def driven(work: Work, most_streams: int | None) -> Iterator[Driven]:
    """Start the run. The `with` block must `end` it, or it is killed."""
    ours, theirs = orders.pipes(most_streams)
    command = programs.locust_command(
        locustfile(work.scenario),
        *programs.HEADLESS,
        *locust_options({**work.options, "line": ""}),
        *work.passed_on,
    )
    environ = {**kinds.environment_without_github(), **theirs.environment}
    how: dict[str, Any] = {
        "env": environ,
        "pass_fds": (theirs.reads, theirs.writes),
        "stdout": subprocess.DEVNULL,  # what the run says of itself is about all levels together
        "process_group": 0,  # Ctrl-C reaches only the search, which then ends the run
        "stdin": subprocess.DEVNULL,  # a terminal would stop a process of another group that reads from it
    }
    with programs.running(command, **how) as process:
        theirs.close()
        try:
            yield Driven(process, ours)
        finally:
            ours.close()
            if process.poll() is None:
                process.kill()
