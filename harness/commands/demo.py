"""`streamgauge demo`: everything once, on a simulated server."""

from pathlib import Path

import click

import streamgauge
from streamgauge.harness import programs
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.errors import OutputError
from streamgauge.harness.exit_codes import VERDICTS
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.run.launch import launch

_SPAWN_RATE = 20
_CONFIG = Path("streamgauge.toml")
_SHIPPED_CONFIG = Path(streamgauge.__file__).with_name("demo.toml")


@click.command(name="demo")
@click.option("--users", type=WholeNumber(1), default=60, show_default=True, help="Number of users.")
@click.option("--run-time", metavar="TIME", default="40s", show_default=True, help="How long to run.")
@click.option(
    "--out", metavar="FOLDER", default="out", show_default=True, help="Where demo.db, demo.html and demo.json go."
)
@click.pass_context
def command(ctx: click.Context, users: int, run_time: str, out: str) -> None:
    """Try everything once on a simulated server.

    Starts a reference server, runs the scenario `mixed` against it and prints the verdict. The database, the report
    and the result document stay in the folder. The rules are those of ./streamgauge.toml, if it exists, or else shipped
    ones.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(f"{out}: this folder cannot be made: {fault.strerror}") from None
    lines.show(f"demo: {users} users of the scenario `mixed` on the reference server, for {run_time}")
    files = {"db": "demo.db", "report": "demo.html", "json": "demo.json"}
    options = {name: str(folder / file) for name, file in files.items()}
    with programs.reference_server() as url:
        load = {"host": url, "users": users, "spawn_rate": _SPAWN_RATE, "run_time": run_time}
        config = _CONFIG if _CONFIG.is_file() else _SHIPPED_CONFIG
        code = launch("mixed", {**load, **options, "config": str(config)})
    if code in VERDICTS:
        lines.show("", f"Open {options['report']} in a browser; every stream is in {options['db']}.")
    ctx.exit(code)
