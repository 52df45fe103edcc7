"""How many processes a load needs on this machine, by its certificate. Pure.

What is certified is a number of streams of 50 events a second each. A user has at most one stream open, so a number of
users is at most so many streams.
"""

from dataclasses import dataclass

from streamgauge.harness.calibration.kept import CALIBRATE, Known
from streamgauge.harness.counting import some
from streamgauge.harness.record.certificate import Certificate, processes

DEFAULT = 500  # users of a process, where there is no certificate
_LIBRARY = 6  # times the cost of the wire client, with which machines are calibrated: see docs/reference/benchmarks.md
_CLOSE = 0.5  # of what is carried; below that there is nothing to say


@dataclass(frozen=True, slots=True)
class Planned:
    users: int  # at the peak
    tls: bool
    client: str = "wire"  # the most expensive one of the users'

    @property
    def cost(self) -> int:
        """How many streams of the wire client cost as much as one of these users."""
        return 1 if self.client == "wire" else _LIBRARY

    def __str__(self) -> str:
        users = some(self.users, "user") + (" over TLS" if self.tls else "")
        return users if self.client == "wire" else f"{users} with the client {self.client}"


@dataclass(frozen=True, slots=True)
class Room:
    """How many of the planned users a number of processes carries with exact times."""

    processes: int
    users: int
    rate: float  # events a second of each stream
    most_measured: int  # processes; for more than that, `users` is reckoned

    @property
    def reckoned(self) -> str:
        return f", reckoned from {processes(self.most_measured)}" if self.processes > self.most_measured else ""


def room(certificate: Certificate, planned: Planned, count: int) -> Room | None:
    """None if the certificate says nothing of plain HTTP, or of TLS. Several processes carry no more than measured."""
    measured = {point.processes for point in certificate.points if point.tls is planned.tls}
    if not measured:
        return None
    most = max(measured)
    one, several = (certificate.carried(number, tls=planned.tls) for number in (1, most))
    if count == 1 or most == 1:
        several = one
    each = min(found.point.streams // found.point.processes if found else 0 for found in (one, several))
    return Room(count, each * count // planned.cost, several.events_per_stream if several else 0.0, most)


def best(certificate: Certificate, planned: Planned, cores: int) -> Room | None:
    """The fewest processes that carry this load; if none do on these cores, those that carry most. None: see `room`."""
    rooms = [room(certificate, planned, count) for count in range(1, cores + 1)]
    known = [each for each in rooms if each is not None]
    enough = (each for each in known if each.users >= planned.users)
    return next(enough, max(known, key=lambda each: each.users, default=None))


def automatic(known: Known, planned: Planned | None, cores: int) -> tuple[int, str]:
    """For `--processes auto`: the number of processes, and a sentence that says why. `planned` None: not known yet."""
    if planned is None:
        return cores, f"{cores}, one for each core: how many users there will be is not known yet"
    found = best(known.certificate, planned, cores) if known.certificate else None
    if found and found.users:
        return found.processes, f"{found.processes} for {planned}, by this machine's calibration"
    each = DEFAULT // planned.cost
    count = min(cores, max(1, -(-planned.users // each)))
    limited = ", as many as there are cores" if count * each < planned.users else ""
    return count, f"{count} for {planned}, by the default of {some(each, 'user')} for each process{limited}"


def sentence(known: Known, planned: Planned, count: int, cores: int) -> str:
    """What to know before the run begins; "" if the load is far from what the processes carry."""
    certificate = known.certificate
    here = room(certificate, planned, count) if certificate else None
    users = here.users if here else DEFAULT // planned.cost * count
    if planned.users <= _CLOSE * users:
        return ""
    what = f"{planned} in {processes(count)}"
    if certificate is None or here is None:
        only = "without" if planned.tls else "with"
        return f"{what}: {known.why or f'calibrated only {only} TLS: {CALIBRATE}'}"
    if not users:
        exact = f"{what}: no load was exact in {processes(count)} when this machine was calibrated"
    elif planned.cost > 1:
        exact = f"{what}: about {users:,} on this machine, by the calibration of the wire client{here.reckoned}"
    else:
        exact = f"{what}: exact up to {users:,} on this machine, at {here.rate:.0f} events/s each{here.reckoned}"
    if planned.users <= users:
        return exact
    return f"{exact}; {_advice(best(certificate, planned, cores), planned, count)}"


def _advice(found: Room | None, planned: Planned, count: int) -> str:
    if found and found.users >= planned.users:
        return f"use --processes {found.processes}, which carries {found.users:,}"
    if found and found.users and found.processes != count:
        carried = f"{found.users:,} in {processes(found.processes)}{found.reckoned}"
        return f"this machine carries {carried}: use more machines, or fewer users"
    return "use more machines, or fewer users"
