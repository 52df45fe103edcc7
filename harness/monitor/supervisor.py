"""Keeps the monitor's processes alive: starts each again when it ends or falls silent, at once the first time.

All that they know is in the database, so a process that takes another's place goes on where that one was.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from streamgauge.harness import programs
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.interrupt import endings, leave_closed_terminal

_LOOK_EVERY = 0.2  # seconds
_LIVED = 6.0  # seconds after which a process was not a failed start
_FIRST = 60.0  # seconds from the beginning in which a mistake ends everything: it was there from the start
_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a start, by how many have failed in a row
_STOPS = 30.0  # seconds in which a process must end when it is asked to


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the monitor."""

    name: str
    command: Sequence[str]
    silence: float | None = None  # seconds without a line on its output after which it hangs; None: it writes none


@dataclass(slots=True)
class _Running:
    part: Part
    stack: ExitStack = field(default_factory=ExitStack)
    process: "subprocess.Popen[str] | None" = None
    started_at: float = 0.0  # monotonic
    heard_at: float = 0.0  # monotonic: when it last wrote a line
    start_at: float = 0.0  # monotonic: not before this
    failures: int = 0  # starts in a row after which it did not live for long


class Supervisor:
    def __init__(self, parts: Sequence[Part], say: Callable[[str], None], hear: Callable[[str], None]) -> None:
        """`hear` is called with each line that a part with `silence` writes."""
        self._parts = {part.name: _Running(part) for part in parts}
        self._say, self._hear = say, hear
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._began = time.monotonic()

    def run(self) -> Exit:
        """Until one of `interrupt.endings`. MISTAKE if a process ends with that as soon as it was first started."""
        handlers = {number: signal.signal(number, self._stop) for number in endings()}
        try:
            return self._run()
        finally:
            self._end_all()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def restart(self, name: str, patience: float) -> bool:
        """End this part's process, which hangs, so that another takes its place; not if it is younger than this."""
        running = self._parts.get(name)
        if running is None or running.process is None or time.monotonic() - running.started_at < patience:
            return False
        running.process.kill()
        return True

    def _stop(self, *_: object) -> None:
        leave_closed_terminal()
        self._stopping = True

    def _run(self) -> Exit:
        while not self._stopping:
            now = time.monotonic()
            for running in self._parts.values():
                if running.process is None and now >= running.start_at:
                    self._start(running, now)
                if running.process is not None and running.process.poll() is not None and self._ended(running, now):
                    return Exit.MISTAKE
                self._end_if_silent(running, now)
            for key, _ in self._selector.select(_LOOK_EVERY):
                self._read(key.data)
        return Exit.MET

    def _start(self, running: _Running, now: float) -> None:
        writes = running.part.silence is not None
        how = {"stdout": subprocess.PIPE if writes else subprocess.DEVNULL}
        running.process = running.stack.enter_context(programs.running(running.part.command, **how))
        running.started_at = running.heard_at = now
        if writes:
            assert running.process.stdout is not None
            os.set_blocking(running.process.stdout.fileno(), False)
            self._selector.register(running.process.stdout, selectors.EVENT_READ, running)

    def _ended(self, running: _Running, now: float) -> bool:
        """Prepare the next start; True if there must be none, since the first one was a mistake."""
        assert running.process is not None
        code, lasted = running.process.returncode, now - running.started_at
        self._release(running)
        if code == Exit.MISTAKE and running.failures == 0 and now - self._began < _FIRST:
            return True  # it has said what is wrong
        running.failures = 0 if lasted >= _LIVED else running.failures + 1
        pause = _PAUSES[min(running.failures, len(_PAUSES) - 1)]
        running.start_at = now + pause
        if code not in {Exit.MET, Exit.MISSED, Exit.INCONCLUSIVE}:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self._say(f"{running.part.name} {how}; it is started again{f' in {pause:g} s' if pause else ''}")
        return False

    def _end_if_silent(self, running: _Running, now: float) -> None:
        silence = running.part.silence
        if running.process is not None and silence is not None and now - running.heard_at > silence:
            self._say(f"{running.part.name} has said nothing for {silence:g} s, and is ended")
            running.process.kill()
            running.heard_at = now

    def _read(self, running: _Running) -> None:
        assert running.process is not None
        assert running.process.stdout is not None
        for line in iter(running.process.stdout.readline, ""):
            running.heard_at = time.monotonic()
            self._hear(line.rstrip("\n"))

    def _release(self, running: _Running) -> None:
        process, running.process = running.process, None
        if process is not None and process.stdout is not None:
            self._selector.unregister(process.stdout)
        running.stack.close()

    def _end_all(self) -> None:
        alive = [each.process for each in self._parts.values() if each.process is not None]
        for process in alive:
            process.terminate()
        until = time.monotonic() + _STOPS
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            process.kill()
        for running in self._parts.values():
            self._release(running)
        self._selector.close()
