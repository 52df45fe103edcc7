"""How many processes a load needs on this machine, by its certificate. Pure.

What is certified is a number of streams of 50 events a second each. A user has at most one stream open, so a number of
users is at most so many streams.
"""

from dataclasses import dataclass

from streamgauge.harness.calibration.kept import Known
from streamgauge.harness.record.certificate import Certificate, processes

DEFAULT = 500  # users of a process, where there is no certificate
_CLOSE = 0.5  # of what is carried; below that there is nothing to say


@dataclass(frozen=True, slots=True)
class Planned:
    users: int  # at the peak
    tls: bool

    def __str__(self) -> str:
        return f"{self.users:,} {'user' if self.users == 1 else 'users'}{' over TLS' if self.tls else ''}"


@dataclass(frozen=True, slots=True)
class Room:
    """What a number of processes carries with exact times."""

    processes: int
    streams: int
    rate: float  # events a second of each stream
    most_measured: int  # processes; for more than that, `streams` is reckoned

    def __str__(self) -> str:
        reckoned = f" (reckoned from {processes(self.most_measured)})" if self.processes > self.most_measured else ""
        return f"{self.streams:,} in {processes(self.processes)}{reckoned}"


def room(certificate: Certificate, count: int, *, tls: bool) -> Room | None:
    """None if the certificate says nothing of plain HTTP, or of TLS. Several processes carry no more than measured."""
    measured = {point.processes for point in certificate.points if point.tls is tls}
    if not measured:
        return None
    most = max(measured)
    one, several = certificate.carried(1, tls=tls), certificate.carried(most, tls=tls)
    if count == 1 or most == 1:
        streams, rate = (one.point.streams * count, one.events_per_stream) if one else (0, 0.0)
    else:
        each = min(found.point.streams // found.point.processes if found else 0 for found in (one, several))
        streams, rate = each * count, several.events_per_stream if several else 0.0
    return Room(count, streams, rate, most)


def best(certificate: Certificate, planned: Planned, cores: int) -> Room | None:
    """The fewest processes that carry this load; if none do on these cores, those that carry most. None: see `room`."""
    rooms = [room(certificate, count, tls=planned.tls) for count in range(1, cores + 1)]
    known = [each for each in rooms if each is not None]
    enough = (each for each in known if each.streams >= planned.users)
    return next(enough, max(known, key=lambda each: each.streams, default=None))


def automatic(known: Known, planned: Planned | None, cores: int) -> tuple[int, str]:
    """For `--processes auto`: the number of processes, and a sentence that says why. `planned` None: not known yet."""
    if planned is None:
        return cores, f"{cores}, one for each core: how many users there will be is not known yet"
    found = best(known.certificate, planned, cores) if known.certificate else None
    if found and found.streams:
        return found.processes, f"{found.processes} for {planned}, by this machine's calibration"
    count = min(cores, -(-planned.users // DEFAULT))
    limited = ", as many as there are cores" if count * DEFAULT < planned.users else ""
    return count, f"{count} for {planned}, by the default of {DEFAULT} users for each process{limited}"


def sentence(known: Known, planned: Planned, count: int, cores: int) -> str:
    """What to know before the run begins; "" if the load is far from what the processes carry."""
    what = f"{planned} in {processes(count)}"
    certificate = known.certificate
    here = room(certificate, count, tls=planned.tls) if certificate else None
    if certificate is None or here is None:
        if planned.users <= _CLOSE * DEFAULT * count:
            return ""
        return f"{what}: {known.why or 'calibrated without TLS: run `streamgauge calibrate`'}"
    if planned.users <= _CLOSE * here.streams:
        return ""
    if not here.streams:
        exact = f"{what}: no load was exact in {processes(count)} when this machine was calibrated"
    else:
        reckoned = f", reckoned from {processes(here.most_measured)}" if count > here.most_measured else ""
        exact = f"{what}: exact up to {here.streams:,} on this machine, at {here.rate:.0f} events/s each{reckoned}"
    if planned.users <= here.streams:
        return exact
    return f"{exact}; {_advice(best(certificate, planned, cores), planned, count)}"


def _advice(found: Room | None, planned: Planned, count: int) -> str:
    if found and found.streams >= planned.users:
        return f"use --processes {found.processes}, which carries {found.streams:,}"
    if found and found.streams and found.processes != count:
        return f"this machine carries {found}: use more machines, or fewer users"
    return "use more machines, or fewer users"
