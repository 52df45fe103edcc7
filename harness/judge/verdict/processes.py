"""What is said of a run's processes: of several with the same trouble in one sentence, and what would help. Pure."""

from collections.abc import Sequence

from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.verdict.time_lost import Lost


def named(run: Run, names: Sequence[str]) -> str:
    """Who it is: "worker-3", "4 of 9 workers", or "the generator" in a run without workers."""
    if list(names) == ["local"]:
        return "the generator"
    return names[0] if len(names) == 1 else f"{len(names)} of {max(len(names), len(_about(run)))} workers"


def longest(lost: Sequence[Lost]) -> str:
    """For how long it was, with the name of the worst if there are several: "5 s of 20 s, the longest at worker-3"."""
    worst = max(lost, key=lambda each: each.share)
    time = f"{worst.seconds:.3g} s of {worst.of:.3g} s"
    return time if len(lost) == 1 else f"up to {time}, the longest at {worst.worker}"


def cores(run: Run, worker: str) -> int | None:
    """How many cores this process might use; None: unknown."""
    found = _about(run).get(worker, {}).get("cpus")
    return found if isinstance(found, int) and found > 0 else None


def host_of(run: Run, worker: str) -> object:
    """The name of the machine that the process ran on; None: unknown, which is one machine, too."""
    return _about(run).get(worker, {}).get("host")


def fewer_users_or_more_processes(run: Run) -> str:
    """What helps a generator that is too slow, on the machines that it had."""
    about = _about(run)
    hosts = {process.get("host"): cores(run, name) for name, process in about.items()}
    if not about or None in hosts.values():
        return "use --processes 2 or fewer users" if len(about) < 2 else "use more processes or fewer users"
    free = sum(count or 0 for count in hosts.values()) - len(about)
    if free < 1:
        return "use fewer users, or workers on more machines: there is no core left here"
    if len(hosts) > 1:
        return "use more workers or fewer users"
    return f"use --processes {len(about) + min(free, len(about))} or fewer users"


def _about(run: Run) -> dict[str, dict[str, object]]:
    workers = run.instrument.get("workers")
    found = workers if isinstance(workers, dict) else {}
    return {str(name): about for name, about in found.items() if isinstance(about, dict)}
