"""Machines of a distributed run: network namespaces, each worker's with a slow link to the master's and a quick one to
ours, where the server is."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.command import PATIENCE

_CABLE = Path(__file__).with_name("cable.py")
_UNSHARE = ("unshare", "--time", "--fork", "--kill-child")

# At the beginning of a scenario: a fork of a test's process moves to the machine that SPACE names.
MOVES = """
import ctypes, os
if os.environ.get("SPACE"):
    with open("/run/netns/" + os.environ["SPACE"]) as space:
        assert ctypes.CDLL(None).setns(space.fileno(), 0x40000000) == 0  # CLONE_NEWNET
"""


@dataclass(frozen=True)
class Machine:
    space: str  # its network namespace
    device: str = ""  # of a worker: leads to the master
    master: str = ""  # the master's address, as this worker reaches it

    def unplug(self) -> None:
        """Take the device that leads to the master down."""
        _must(*_on(self.space), "link", "set", self.device, "down")

    def plug_in(self) -> None:
        _must(*_on(self.space), "link", "set", self.device, "up")

    def up_for(self, seconds: int, *command: object) -> list[str]:
        """The command on this machine, whose monotonic clock is so far ahead of ours, as if it had started earlier.

        Where the kernel has no time namespaces, its clock is ours.
        """
        clock = [*_UNSHARE, "--monotonic", str(seconds)]
        if refused := _run(*clock, "true"):
            print(f"one machine's monotonic clock is not ahead: no time namespaces here: {refused}")
            clock = []
        return [*clock, "ip", "netns", "exec", self.space, *map(str, command)]


@dataclass(frozen=True)
class Machines:
    server: str  # its address, which is ours
    master: Machine
    workers: Sequence[Machine]


@contextlib.contextmanager
def machines(workers: int, delay: float, jitter: float) -> Iterator[Machines]:
    """A master's machine, and one for each worker. Between them, each way takes `delay` ± `jitter` seconds.

    Skips the test, with the reason, where there can be no such machines. No kernel gives a namespace a wall clock of
    its own: tests of a clock that is wrong replace `time.time_ns`.
    """
    if reason := _missing():
        pytest.skip(reason)
    name, net = f"gauge{secrets.randbelow(1 << 16):04x}", f"198.19.{secrets.randbelow(256)}"
    found = Machines(f"{net}.1", Machine(f"{name}m"), [Machine(f"{name}w{number}") for number in range(workers)])
    with contextlib.ExitStack() as stack:
        for machine in (found.master, *found.workers):
            if refused := _run("ip", "netns", "add", machine.space):
                pytest.skip(f"no network namespaces here: {refused}")
            stack.callback(_run, "ip", "netns", "delete", machine.space)  # and its devices with it
            _must(*_on(machine.space), "link", "set", "lo", "up")
        placed = []
        for number, worker in enumerate(found.workers):
            _wire(f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}", found.server, worker)
            near = stack.enter_context(_cable(f"{name}c{number}", worker.space, delay, jitter))
            _place(near, found.master, f"198.18.{number}.1/30")
            _place(worker.space, worker, f"198.18.{number}.2/30")
            placed.append(replace(worker, device=worker.space, master=f"198.18.{number}.1"))
        yield replace(found, workers=placed)


def _missing() -> str:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "needs root and iproute2, to make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun, to make a slow link"
    return ""


def _wire(ours: str, its: str, server: str, worker: Machine) -> None:
    """Connect a worker's machine directly with ours. All addresses are of those for such tests (RFC 2544, C.2.2)."""
    near, there = f"{worker.space}s", _on(worker.space)
    _must("ip", "link", "add", near, "type", "veth", "peer", "far", "netns", worker.space)
    _must("ip", "address", "add", f"{ours}/30", "dev", near)
    _must("ip", "link", "set", near, "up")
    _must(*there, "address", "add", f"{its}/30", "dev", "far")
    _must(*there, "link", "set", "far", "up")
    if ours != server:
        _must(*there, "route", "add", server, "via", ours)


@contextlib.contextmanager
def _cable(near: str, far: str, delay: float, jitter: float) -> Iterator[str]:
    """The name of one of the two devices."""
    words = [sys.executable, "-IS", str(_CABLE), near, far, str(delay), str(jitter)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                pytest.skip("no TAP devices here")
            yield near
        finally:
            process.kill()


def _place(device: str, machine: Machine, address: str) -> None:
    _must("ip", "link", "set", device, "netns", machine.space)
    _must(*_on(machine.space), "address", "add", address, "dev", device)
    _must(*_on(machine.space), "link", "set", device, "up")


def _on(space: str) -> tuple[str, ...]:
    return ("ip", "-n", space)


def _must(*command: str) -> None:
    if refused := _run(*command):
        pytest.skip(f"no machines here: {' '.join(command)}: {refused}")


def _run(*command: str) -> str:
    """Run a command. Why it failed, or nothing."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ended.stderr.strip() or "it failed" if ended.returncode else ""
