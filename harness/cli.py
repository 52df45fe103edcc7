"""The `streamgauge` command. Thin: parse, call, print, exit code. Locust and the reference server run as processes
of their own, so nothing here is monkey-patched.
"""

import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import click

from streamgauge import __version__
from streamgauge.harness.calibration import measurement, resolution
from streamgauge.harness.calibration.resolution import Point
from streamgauge.harness.commands import gating
from streamgauge.harness.compare import series
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Reader
from streamgauge.harness.errors import ScenarioError, StreamgaugeError, TargetError
from streamgauge.harness.exit_codes import VERDICTS, Exit
from streamgauge.harness.judge.compare import baseline, noise, regression
from streamgauge.harness.judge.compare import runs as compared_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import observe
from streamgauge.harness.judge.outputs import dispatch, save, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.harness.judge.verdict.rules import Rule, parse_all
from streamgauge.harness.judge.wording import visible
from streamgauge.reports import page
from streamgauge.reports.material import gather

Command = Callable[..., Any]
_READY = re.compile(r"http://\S+")
_SERVER_STARTS_WITHIN = 30  # seconds


class _Commands(click.Group):
    """A user's mistake is one line and exit code 2, in every command."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StreamgaugeError as fault:
            click.echo(f"streamgauge: {visible(str(fault))}", err=True)
            ctx.exit(Exit.MISTAKE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamgauge")
def main() -> None:
    """Load tests and SLA reports for LLM streaming endpoints, with numbers that are true.

    `run` puts a scenario's users on an endpoint and records every stream in one SQLite file; `judge`, `report` and
    `runs` read that file. `compare`, `baseline`, `ab`, `noise` and `history` hold runs against others. `serve` starts a
    streaming server to try it on, `demo` does all of it at once.

    \b
    Exit codes: 0 all rules met, nothing regressed, 1 a rule missed or a regression, 2 a mistake in the call,
                3 inconclusive (too little to judge) or invalid (the generator could not keep up).
    """


_inconclusive = gating.inconclusive_option
_output = gating.output_option


_OF_A_RUN = [  # options of every command that runs a scenario
    click.option("--users", type=click.IntRange(1), help="How many people at the peak; in an open load, at most."),
    click.option("--spawn-rate", type=click.FloatRange(0, min_open=True), help="How many of them arrive each second."),
    click.option("--run-time", help="How long, as in 90s or 10m. Without it: until Ctrl-C, or the shape's end."),
    click.option(
        "--config", "config_path", help="Target, rules and limits.  [default: ./streamgauge.toml, if there is one]"
    ),
    click.option("--db", default="streamgauge.db", show_default=True, help="The SQLite file that the run is added to."),
    click.option(
        "--arrivals", metavar="SCHEDULE", help="An open load: constant or poisson, with --rate, or file:PATH."
    ),
    click.option("--rate", type=float, help="How many streams of an open load are due each second."),
    click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same work."),
    click.option(
        "--client", help="What every user has on the socket: wire, httpx or anthropic.  [default: as its class says]"
    ),
    click.option("--label", multiple=True, metavar="NAME=VALUE", help="Kept with the run; may be repeated."),
    click.argument("locust_options", nargs=-1, type=click.UNPROCESSED),
]


def _of_a_run(command: Command) -> Command:
    return reduce(lambda sofar, option: option(sofar), reversed(_OF_A_RUN), command)


@main.command()
@click.argument("scenario")
@click.option("--host", required=True, help="The endpoint's URL, as in https://staging.example")
@_of_a_run
@click.option("--report", help="Write the HTML report to this file.")
@click.option("--json", "json_path", help="Write the result document to this file.")
@click.option("--repeat", type=click.IntRange(1), help="So many runs of the same work.  [default: 1; 3 with --gate]")
@click.option("--gate", metavar="BASELINE", help="Then compare with this baseline; 5 more runs if that looks worse.")
@_output
@_inconclusive
@click.pass_context
def run(ctx: click.Context, /, scenario: str, **options: Any) -> None:
    """Run a scenario with Locust.

    SCENARIO is the path of your own locustfile, or a shipped one by its name: app_switchers, arrivals, cached_prompts,
    chat, commuters, conversation, disconnects, handover, mixed, noisy_neighbour, progressive, retry_storm, slow_mobile,
    soak, spike, steps or tools. scenarios/README.md says what each is for.

    It is `locust -f SCENARIO --headless …` with less typing. Whatever follows `--` goes to Locust as it is:

    \b
        streamgauge run mixed --host https://staging.example --users 100 --run-time 2m -- --processes 2
    """
    ctx.exit(_runs(scenario, **options))


@main.command(name="noise")
@click.argument("scenario")
@click.option("--host", required=True, help="The endpoint's URL, as in https://staging.example")
@click.option("--runs", type=click.IntRange(noise.FEWEST_RUNS), default=10, show_default=True, help="How many.")
@_of_a_run
@click.pass_context
def noise_command(ctx: click.Context, /, scenario: str, runs: int, label: Sequence[str], **options: Any) -> None:
    """How far are equal runs apart, and what can a gate see through that?

    Runs the scenario so many times on one target, and says of each metric that gates how often the regression gate
    would stop an equal build, and which change it would find. The runs can be accepted as a baseline.
    """
    watched = Gate.of(load(options["config_path"]).regression)
    labels, this = series.provenance() | gating.pairs(label), series.name()

    def start(more: Mapping[str, str]) -> int:
        return _locust(scenario, {**labels, **more}, environ=dispatch.environment_without_github(), **options)

    ids, codes = series.run(start, [{"repeat": str(number + 1)} for number in range(runs)], options["db"], this)
    if Exit.MISTAKE in codes:
        ctx.exit(Exit.MISTAKE)
    with Store.open(options["db"]) as store:
        seen, faults, notes = observe(store, ids, watched)
    gating.tell_noise(seen.values(), watched)
    for sentence in (*(f"{one} is left out: {fault}" for one, fault in faults.items()), *notes):
        click.echo(f"  {sentence}")


@main.command()
@click.argument("scenario")
@click.option("--a", "a", required=True, metavar="URL", help="The build that is known.")
@click.option("--b", "b", required=True, metavar="URL", help="The build that may be worse.")
@click.option("--pairs", type=click.IntRange(1), default=6, show_default=True, help="So many runs of each.")
@_of_a_run
@click.option("--json", "json_path", help="Write the comparison to this file; - for standard output.")
@_output
@_inconclusive
@click.pass_context
def ab(ctx: click.Context, /, scenario: str, a: str, b: str, pairs: int, label: Sequence[str], **options: Any) -> None:
    """Compare two builds that are both up.

    Their runs take turns, A B, B A, A B, …, and are compared in pairs: so a drift of the machine or the network falls
    out. Exit code 0: B is not worse, 1: worse, 3: too little to tell.

    \b
        streamgauge ab chat --a https://old.example --b https://new.example --users 20 --run-time 1m
    """
    watched = Gate.of(load(options["config_path"]).regression)
    json_path, output, inconclusive = (options.pop(name) for name in ("json_path", "output", "inconclusive"))
    outputs = dispatch.requested(output, json_path)
    labels, this, hosts = series.provenance() | gating.pairs(label), series.name(), {"a": a, "b": b}

    def start(more: Mapping[str, str]) -> int:
        return _locust(
            scenario,
            {**labels, **more},
            environ=dispatch.environment_without_github(),
            host=hosts[more["side"]],
            **options,
        )

    turns = [{"pair": str(pair + 1), "side": side} for pair in range(pairs) for side in ("ab", "ba")[pair % 2]]
    _, codes = series.run(start, turns, options["db"], this)
    if Exit.MISTAKE in codes:
        ctx.exit(Exit.MISTAKE)
    with Store.open(options["db"]) as store:
        found = compared_runs.in_turns(store, *series.sides(store.runs(), this), watched)
    ctx.exit(gating.tell(found, outputs, inconclusive))


@main.command()
@click.option("--users", type=click.IntRange(1), default=60, show_default=True)
@click.option("--run-time", default="40s", show_default=True)
@click.option("--out", default="out", show_default=True, help="The folder for demo.db, demo.html and demo.json.")
@click.pass_context
def demo(ctx: click.Context, users: int, run_time: str, out: str) -> None:
    """Try it all on a simulated server.

    Starts a reference server, runs the `mixed` scenario on it, prints the verdict and leaves the database, the report
    and the result document. Judged by ./streamgauge.toml where there is one.
    """
    folder = Path(out)
    click.echo(f"demo: {users} people of the `mixed` scenario on the reference server, for {run_time}")
    with _Server(["--port", "0"]) as url:
        code = _locust(
            "mixed",
            host=url,
            users=users,
            spawn_rate=20,
            run_time=run_time,
            db=str(folder / "demo.db"),
            report=str(folder / "demo.html"),
            json_path=str(folder / "demo.json"),
        )
    if code in VERDICTS:
        click.echo(f"\nOpen {folder / 'demo.html'} in a browser; every stream is in {folder / 'demo.db'}.")
    ctx.exit(code)


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("server_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def serve(ctx: click.Context, server_options: tuple[str, ...]) -> None:
    """Start the reference server (see its --help)."""
    ctx.exit(_wait([sys.executable, "-m", "streamgauge.reference_server", *server_options]))


@main.command(name="calibrate")
@click.option(
    "--streams",
    default=",".join(map(str, measurement.STREAMS)),
    show_default=True,
    help="How many at once, one run each.",
)
@click.option("--seconds", type=click.IntRange(5), default=8, show_default=True, help="How long each run measures.")
@click.option("--plain-only", is_flag=True, help="Leave TLS out.")
def calibrate_command(streams: str, seconds: int, plain_only: bool) -> None:
    """Find out how far this machine's times are off.

    Runs real load against the reference server and holds what was recorded to the server's own log. The result is kept
    for this machine, and every later run and report on it says so.
    """
    try:
        numbers = [int(number) for number in streams.split(",")]
    except ValueError:
        raise ScenarioError(f"--streams {streams!r}: write numbers with commas in between, as in 50,200") from None
    found = measurement.calibrate(numbers, seconds, [False] if plain_only else [False, True], _tell_point)
    resolution.keep(found)
    click.echo(f"this machine: {found.sentence()}; kept in {resolution.path()}")


@main.command()
@click.argument("db")
@click.option("--run", "run_id", help="A run's id or the beginning of it.  [default: the newest]")
@click.option("--config", "config_path", help="Judge by this file's rules.  [default: the rules it was run with]")
@click.option("--json", "json_path", help="Write the result document to this file; - for standard output.")
@_output
@_inconclusive
@click.pass_context
def judge(  # noqa: PLR0913 - click hands over each option
    ctx: click.Context,
    *,
    db: str,
    run_id: str | None,
    config_path: str | None,
    json_path: str | None,
    output: tuple[str, ...],
    inconclusive: Literal["pass", "fail"] | None,
) -> None:
    """Judge a run again, from the database alone."""
    outputs = dispatch.requested(output, json_path)
    rules, reader = _rules(config_path)
    with Store.open(db) as store:
        judged = judgement.judge(store, run_id, rules, reader=reader)
    dispatch.show(judged, outputs)
    ctx.exit(judgement.exit_code(judged, inconclusive))


@main.command()
@click.argument("db")
@click.option("--run", "run_id", help="A run's id or the beginning of it.  [default: the newest]")
@click.option("--config", "config_path", help="Judge by this file's rules.  [default: the rules it was run with]")
@click.option("-o", "--output", default="report.html", show_default=True, help="The page to write.")
def report(db: str, run_id: str | None, config_path: str | None, output: str) -> None:
    """Write the HTML report of a run.

    One self-contained file that opens without a network.
    """
    rules, reader = _rules(config_path)
    with Store.open(db) as store:
        material = gather(store, run_id, rules, reader)
    save(page.render(material), output)
    click.echo(f"{output}: {material.judgement.run.id}, {material.judgement.verdict}")


@main.command()
@click.argument("db")
def runs(db: str) -> None:
    """List the runs of a database, oldest first."""
    with Store.open(db) as store:
        terminal.render_runs(store.runs())


main.add_command(gating.compare)
main.add_command(gating.baseline_group)
main.add_command(gating.history_command)


def _tell_point(point: Point) -> None:
    click.echo(
        f"{point.streams:6,} streams{', TLS' if point.tls else '':5}  TTFT off by {point.ttft_error_p99:.3f} ms, "
        f"ITL by {point.itl_error_p99:.3f} ms (P99)  {point.events_per_second:,.0f} events/s, "
        f"{point.events_per_cpu_second:,.0f} a CPU-second  (server late by {point.server_late_p99:.1f} ms, P99)"
    )


def _rules(config_path: str | None) -> tuple[list[Rule], Reader] | tuple[None, None]:
    """What to judge by; None: what a run was run with."""
    if config_path is None:
        return None, None
    found = load(config_path)
    return parse_all(found.sla), found.reader


def _runs(scenario: str, repeat: int | None, gate: str | None, label: Sequence[str], **options: Any) -> int:
    """One run; or several of the same work, and the gate's verdict on them. The exit code."""
    labels = series.provenance() | gating.pairs(label)
    if gate is None and repeat in {None, 1}:
        return _locust(scenario, labels, **options)
    db, told = options["db"], {name: options.pop(name) for name in ("report", "json_path", "output")}
    if gate is not None:
        with Store.create(db) as store:
            baseline.members(store, gate)  # a mistake is told now, and not after three runs
        Gate.of(load(options["config_path"]).regression)
    times, this = repeat or regression.FIRST_RUNS, series.name()

    def start(more: Mapping[str, str]) -> int:
        if gate is not None and more["repeat"] == "2":  # and other work after one run
            with Store.open(db) as store:
                compared_runs.require_comparable(store, gate, series.found(db, this)[0])
        news = told if int(more["repeat"]) == times else {"environ": dispatch.environment_without_github()}
        return _locust(scenario, {**labels, **more}, **options, **news)

    each = [{"repeat": str(number)} for number in range(1, times + 1)]
    runs, codes = series.run(start, each, db, this)
    if gate is None or Exit.MISTAKE in codes:
        return series.worst(codes)
    if len(runs) < times:
        click.echo("streamgauge: a run did not come to its end, so there is nothing for the gate to judge", err=True)
        return series.worst([*codes, Exit.INCONCLUSIVE])
    rules = load(options["config_path"]).sla  # without any, each run was INCONCLUSIVE, and gates nothing
    return series.worst([*(codes if rules else []), _staged(start, runs, this, gate, options)])


def _staged(start: series.Start, runs: list[str], this: str, gate: str, options: Mapping[str, Any]) -> int:
    """The gate, and where it is suspicious its second stage."""
    db = options["db"]
    watched = Gate.of(load(options["config_path"]).regression)
    with Store.open(db) as store:
        found = compared_runs.with_baseline(store, gate, runs, watched)
    if found.wanted and len(runs) >= regression.FIRST_RUNS:
        click.echo(f"{found.reason}: running them now", err=True)
        more = [{"repeat": str(number)} for number in range(len(runs) + 1, len(runs) + found.wanted + 1)]
        series.run(start, more, db, this)
    kept = {name: options[name] for name in ("config_path", "inconclusive")}
    return gating.gate(db, name=gate, run_ids=series.found(db, this), **kept)


_FLAGS = {  # of Locust and of our plugin
    "host": "--host",
    "users": "--users",
    "spawn_rate": "--spawn-rate",
    "run_time": "--run-time",
    "config_path": "--gauge-config",
    "db": "--gauge-db",
    "report": "--gauge-report",
    "json_path": "--gauge-json",
    "arrivals": "--gauge-arrivals",
    "rate": "--gauge-rate",
    "client": "--gauge-client",
    "seed": "--gauge-seed",
    "inconclusive": "--gauge-inconclusive",
}


def _locust(
    scenario: str,
    labels: Mapping[str, str] | None = None,
    output: Sequence[str] = (),
    locust_options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> int:
    """Compose the Locust command from our options (None: leave it out), run it, and return its exit code.

    `environ` as in subprocess: None is this process's own.
    """
    command = [sys.executable, "-m", "locust", "--locustfile", str(_locustfile(scenario)), "--headless"]
    for name, value in options.items():
        if value is not None:
            command += [_FLAGS[name], str(value)]
    for name, value in (labels or {}).items():
        command += ["--gauge-label", f"{name}={value}"]
    for told in output:
        command += ["--gauge-output", told]
    return _wait([*command, "--gauge-progress", "--loglevel", "WARNING", *locust_options], environ)


def _locustfile(scenario: str) -> Path:
    """A path, or the name of a shipped scenario."""
    if scenario.endswith(".py") or "/" in scenario:
        if not Path(scenario).is_file():
            raise ScenarioError(f"{scenario}: no such file")
        return Path(scenario)
    shipped = importlib.util.find_spec("streamgauge.scenarios")
    assert shipped is not None
    assert shipped.origin is not None
    folder = Path(shipped.origin).parent
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    if scenario not in names:
        raise ScenarioError(
            f"no scenario called {scenario!r}; there are {', '.join(names)}, or give a path to your own"
        )
    return folder / f"{scenario}.py"


def _wait(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a process to its end. Ctrl-C is the child's to handle: it shares our terminal."""
    process = subprocess.Popen(command, env=environ)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)  # the next process of a series would be born deaf to it


class _Server:
    """A reference server as a process, for as long as the `with` block lasts."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "streamgauge.reference_server", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = _READY.search(self._process.stdout.readline())  # empty when the server has died, having said why
        if found is None:
            self.__exit__()
            raise TargetError("the reference server did not start")
        return found[0]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
