"""`streamgauge doctor`: whether an endpoint's streaming is set up right."""

import sys
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.config import secrets
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import ProtocolName
from streamgauge.harness.doctor import document, markdown, screen
from streamgauge.harness.doctor.cancelling import EXAMPLE, Way, parsed
from streamgauge.harness.doctor.candidates import candidates
from streamgauge.harness.doctor.diagnosis import Diagnosis
from streamgauge.harness.doctor.examination import Case, examine
from streamgauge.harness.doctor.session import QUESTION
from streamgauge.harness.exit_codes import STOPPED
from streamgauge.harness.judge.outputs import lines as output
from streamgauge.harness.judge.outputs import save
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.outputs.rich_text import console_of

_CONFIG = Path("streamgauge.toml")
_ALL_KNOWN = "610s"  # longer than every limit of a path that is known
_LONGEST = 3_600  # s


def _duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float:
    """Seconds; 0 without the option."""
    if text is None:
        return 0.0
    try:
        seconds = Duration.parse(text) / 1e9
    except ValueError as fault:
        hint = "; write the URL before --slow" if "://" in text else ""
        raise click.BadParameter(f"{fault}{hint}", ctx, param) from None
    if not 1 <= seconds <= _LONGEST:
        raise click.BadParameter(f"{text} is not between 1s and {_LONGEST // 60}m", ctx, param)
    return seconds


def _way(ctx: click.Context, param: click.Parameter, text: str | None) -> Way | None:
    try:
        return None if text is None else parsed(text)
    except ValueError as fault:
        raise click.BadParameter(str(fault), ctx, param) from None


@click.command(name="doctor")
@click.argument("url")
@click_options.config_for("The file with [target].")
@click.option(
    "--protocol", type=click.Choice(get_args(ProtocolName)), help="In place of the config's.  [default: recognised]"
)
@click_options.of_run("model", "path", "header")
@click.option(
    "--origin", metavar="URL", help="The server itself, without the proxy: asked the same, with the same headers."
)
@click.option(
    "--budget",
    type=WholeNumber(2, 1_000),
    default=Case.budget,
    show_default=True,
    help="How many requests may be sent.",
)
@click.option("--question", metavar="TEXT", default=QUESTION, help="In place of the short one that is asked.")
@click.option(
    "--slow",
    metavar="DURATION",
    callback=_duration,
    is_flag=False,
    flag_value=_ALL_KNOWN,
    help=f"Hold a stream silent, until something ends it or for so long ({_ALL_KNOWN} without a duration). Needs the "
    "reference server behind the path.",
)
@click.option(
    "--cancel",
    metavar="'METHOD PATH [BODY]'",
    callback=_way,
    help=f"How your server cancels an answer by its id: {EXAMPLE}. {{id}} is a key in the JSON of the stream's events, "
    "or a header of the answer; a dotted path leads into a table.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead.")
@click_options.page("Write an HTML page to this file, too, such as page.html.")
@click.pass_context
def command(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    /,
    *,
    url: str,
    config: str | None,
    protocol: ProtocolName | None,
    model: str | None,
    path: str | None,
    header: tuple[str, ...],
    origin: str | None,
    budget: int,
    question: str,
    slow: float,
    cancel: Way | None,
    report: str | None,
    **shown: bool,
) -> None:
    """Find out why an endpoint does not stream, or what else is wrong with its streaming.

    Asks a few small questions in about a minute, two at a time, and shows a checklist: each check with its evidence,
    why it matters, and the line to change. No load.

    Exit codes: 0 nothing failed, 1 a check failed, 2 a mistake in the call or in the config, 3 it could not look.
    """
    if shown["as_json"] and shown["as_markdown"]:
        raise click.UsageError("--json and --markdown are two formats of the same output: give one of them", ctx)
    loaded = load(config)
    if told := secrets.advice(loaded.target):
        output.warn(told)
    given = protocol or (loaded.target.protocol if config is not None or _CONFIG.exists() else None)
    asked = candidates(url, loaded.target, given, model=model, path=path, headers=header)
    if sys.stderr.isatty():
        output.warn(f"asking {urlsplit(url).netloc} … (Ctrl-C shows what was found until then)")
    if report is not None:
        check_place(report)
    diagnosis = Diagnosis.of(examine(Case(url, asked, origin, budget, question, slow, cancel)))
    if report is not None:
        _write(diagnosis, report)
    if shown["as_json"]:
        output.document(document.document(diagnosis))
    elif shown["as_markdown"]:
        output.document(markdown.render(diagnosis))
    else:
        screen.show(diagnosis, console_of(None))
    ctx.exit(STOPPED if diagnosis.evidence.stopped else diagnosis.exit_code)


def _write(diagnosis: Diagnosis, path: str) -> None:
    from streamgauge.harness.doctor import page  # noqa: PLC0415 - plotly takes 0.1 s
    from streamgauge.reports.html import finished  # noqa: PLC0415

    save(finished(page.render(diagnosis)), path)
