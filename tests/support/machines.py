"""Machines of a distributed run: network namespaces, each worker's with a slow link to the master's and a quick one to
the server's.

Nothing changes in our own network: a browser stops to load its page when an address comes or goes.
"""

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
    server: Machine
    address: str  # of the server
    master: Machine
    workers: Sequence[Machine]


@contextlib.contextmanager
def machines(workers: int, delay: float, jitter: float) -> Iterator[Machines]:
    """The machines of a server, of a master and of each worker.

    Between master and workers, each way takes `delay` ± `jitter` seconds.

    Skips the test, with the reason, where there can be no such machines. No kernel gives a namespace a wall clock of
    its own: tests of a clock that is wrong replace `time.time_ns`.
    """
    if reason := _missing():
        pytest.skip(reason)
    name, net = f"gauge{secrets.randbelow(1 << 16):04x}", f"198.19.{secrets.randbelow(256)}"
    server, master = Machine(f"{name}s"), Machine(f"{name}m")
    found = Machines(server, f"{net}.1", master, [Machine(f"{name}w{number}") for number in range(workers)])
    with contextlib.ExitStack() as stack:
        for machine in (found.server, found.master, *found.workers):
            if refused := _run("ip", "netns", "add", machine.space):
                pytest.skip(f"no network namespaces here: {refused}")
            stack.callback(_run, "ip", "netns", "delete", machine.space)  # and its devices with it
            _must(*_on(machine.space), "link", "set", "lo", "up")
        placed = []
        for number, worker in enumerate(found.workers):
            _wire(f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}", found, worker)
            stack.enter_context(_cable(worker.space, found.master, delay, jitter))
            _must(*_on(master.space), "link", "set", "far", "netns", worker.space, "name", "slow")
            _address(master, worker.space, f"198.18.{number}.1/30")
            _address(worker, "slow", f"198.18.{number}.2/30")
            placed.append(replace(worker, device="slow", master=f"198.18.{number}.1"))
        yield replace(found, workers=placed)


def _missing() -> str:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return "needs root and iproute2, to make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun, to make a slow link"
    return ""


def _wire(near: str, far: str, found: Machines, worker: Machine) -> None:
    """Connect a worker's machine directly with the server's. All addresses are of those for such tests (RFC 2544)."""
    _must(*_on(found.server.space), "link", "add", worker.space, "type", "veth", "peer", "quick", "netns", worker.space)
    _address(found.server, worker.space, f"{near}/30")
    _address(worker, "quick", f"{far}/30")
    if near != found.address:
        _must(*_on(worker.space), "route", "add", found.address, "via", near)


@contextlib.contextmanager
def _cable(near: str, there: Machine, delay: float, jitter: float) -> Iterator[None]:
    """Make two devices on one machine, `near` and `far`, with a slow link between them."""
    words = [sys.executable, "-IS", str(_CABLE), near, "far", str(delay), str(jitter)]
    command = ["ip", "netns", "exec", there.space, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                pytest.skip("no TAP devices here")
            yield
        finally:
            process.kill()


def _address(machine: Machine, device: str, address: str) -> None:
    """Give a device this address, and put it up."""
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
