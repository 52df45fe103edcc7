"""`--budget` of `noise` and `baseline noise`: what a gate can find within a time, told and written into the config."""

from pathlib import Path
from typing import Any

import click

from streamgauge.harness.config import edit
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import BaselineError, ConfigError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare.budget import Plan, Proposal, Recorded, propose
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.noise import rate
from streamgauge.harness.judge.figures import change, figure, some
from streamgauge.harness.judge.outputs import lines

_CONFIG = "streamgauge.toml"
_SHORTEST = 60  # s

option = click.option(
    "--budget", metavar="TIME", help="Also propose a gate whose runs take at most this long, such as 5m."
)
write_option = click.option(
    "--write", is_flag=True, help="Write what --budget proposes into the [regression] of the config."
)


def seconds_of(text: str | None, *, write: bool) -> float | None:
    """The budget in seconds; None without one. Called before the runs, which take minutes."""
    if text is None:
        if write:
            raise click.UsageError("--write needs a time to propose for: give --budget, such as --budget 5m")
        return None
    try:
        seconds = Duration.parse(text) / 1e9
    except ValueError as fault:
        raise ConfigError(f"--budget: {fault}") from None
    if seconds < _SHORTEST:
        raise ConfigError(f"--budget: {text} is too short for several runs; give at least 1m")
    return seconds


def check_write(config: str | None) -> None:
    """ConfigError if the config could not be changed, or not be written."""
    edit.place(_path(config))
    edit.changed(_path(config), "regression", {"margin": Regression().margin})


def show(recorded: Recorded, settings: Regression, seconds: float) -> Proposal:
    """Propose for the budget, and print that."""
    proposal = propose(recorded, Gate.of(settings), settings.margin, seconds)
    lines.show(f"within {_time(seconds)}:")
    if proposal.plan is None:
        lines.show("  no metric can be judged: runs are too far apart, or the time is too short for several of them")
    else:
        lines.show(*_told(proposal.plan))
    for text, needed in proposal.needs.items():
        more = "it needs more than 4h of such runs" if needed is None else f"it needs about {_time(needed)}"
        lines.show(f"  {text} is left out: {more}")
    lines.show(*(f"  {fault}" for fault in proposal.faults))
    return proposal


def written(proposal: Proposal | None, config: str | None) -> Exit:
    """Write the proposal into the config, and say what comes next. None: the runs were not enough for one."""
    plan, path = None if proposal is None else proposal.plan, _path(config)
    if plan is None:
        lines.warn(f"{path}: not changed, because nothing is proposed")
        return Exit.INCONCLUSIVE
    edit.write(path, edit.changed(path, "regression", _keys(plan)))
    lines.show(
        f"{path}: [regression] is written. Its runs have another length than these: record a baseline with "
        f"`streamgauge run … --repeat {plan.gate.fewest_baseline_runs}`, without --run-time, and accept it"
    )
    return Exit.MET


def check_streams(missing: list[str], name: str) -> None:
    if missing:
        raise BaselineError(
            f"--budget needs the streams of runs, and {missing[0]} of {name!r} came from a file: "
            "use the database that has its runs"
        )


def _told(plan: Plan) -> list[str]:
    gate = plan.gate
    finds = ", ".join(
        f"{metric.subject.text} {'no change' if least is None else change(least, metric.subject.unit)}"
        for metric, least, _ in plan.promises
    )
    return [
        f"  {some(gate.first_runs + gate.fresh_runs, 'run')} of {plan.run_time} s: {gate.first_runs}, and "
        f"{gate.fresh_runs} fresh ones if they look worse; {_time(plan.longest)} at most, "
        f"{_time(plan.usual)} if nothing changed",
        f"  finds nine out of ten changes of {finds} or more; margin {figure(plan.margin, 'ratio')}; "
        f"stops {rate(plan.false_alarms)} of equal builds",
        *(
            f"  {metric.subject.text}: runs of this length are about {figure(spread, 'ratio')} apart"
            for metric, _, spread in plan.promises
        ),
    ]


def _keys(plan: Plan) -> dict[str, Any]:
    return {
        "metrics": [metric.subject.text for metric in plan.gate.metrics],
        "margin": plan.margin,
        "run_time": f"{plan.run_time}s",
        "first_runs": plan.gate.first_runs,
        "fresh_runs": plan.gate.fresh_runs,
    }


def _path(config: str | None) -> Path:
    return Path(config or _CONFIG)


def _time(seconds: float) -> str:
    """`45s`, `4m 50s`, `2h 5m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    big, small, names = (whole // 3600, whole % 3600 // 60, "hm") if whole >= 3600 else (whole // 60, whole % 60, "ms")
    return f"{big}{names[0]}" + (f" {small}{names[1]}" if small else "")
