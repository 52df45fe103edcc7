# ruff: noqa: N999 - the file is called as its command is
"""`streamgauge try`: one question, and what came of it."""

import sys
from pathlib import Path
from typing import get_args

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.config import secrets
from streamgauge.harness.config.contents import contents
from streamgauge.harness.config.load import load
from streamgauge.harness.config.overrides import changed
from streamgauge.harness.config.schema import Config, ProtocolName, Target
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.exit_codes import STOPPED, Exit
from streamgauge.harness.judge.outputs import lines as output
from streamgauge.harness.judge.outputs.rich_text import console_of
from streamgauge.harness.probe import document, saving, screen
from streamgauge.harness.probe.asking import reread
from streamgauge.harness.probe.complete import model_comment
from streamgauge.harness.probe.trying import QUESTION, Result, Try, try_out
from streamgauge.harness.record.observation import Outcome

_CLIENTS = ("wire", "httpx", "anthropic")
_MOST_BYTES = 64 * 2**20  # of --from


@click.command(name="try")
@click.argument("question", default=QUESTION)
@click.option("--host", metavar="URL", help="The endpoint's URL, such as https://staging.example.")
@click_options.config_for("The file with [target].")
@click.option("--protocol", type=click.Choice(get_args(ProtocolName)), help="In place of the config's protocol.")
@click_options.of_run("model", "path", "header")
@click.option("--client", type=click.Choice(_CLIENTS), default="wire", show_default=True, help="Who asks.")
@click.option("--all", "every", is_flag=True, help="Show each event, and the whole request.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead.")
@click.option("--save", metavar="FILE", type=click.Path(path_type=Path), help="Write the config that worked.")
@click.option("--force", is_flag=True, help="Let --save replace a file.")
@click.option(
    "--raw", metavar="FILE", type=click.Path(path_type=Path), help="Keep the bytes of the first answer's body."
)
@click.option(
    "--from", "source", metavar="FILE", help="Read the bytes of such a file in place of asking a server.  [no --host]"
)
@click.pass_context
def command(  # noqa: PLR0913 - click passes each option
    ctx: click.Context,
    /,
    *,
    question: str,
    host: str | None,
    config: str | None,
    protocol: ProtocolName | None,
    model: str | None,
    path: str | None,
    header: tuple[str, ...],
    source: str | None,
    client: str,
    save: Path | None,
    raw: Path | None,
    **shown: bool,
) -> None:
    """Ask one question, and show what came.

    Every event with its time, size and meaning, the phases, the outcome, and the request as it was sent. If the answer
    is not what the config expects, it says which line to change, and asks once or twice more with that line.

    Exit codes: 0 the answer was complete, 1 it was not, 2 a mistake in the call or in the config, 3 this machine
    could not ask.
    """
    loaded = load(config)
    target = changed(loaded.target, protocol=protocol, model=model, path=path, headers=header)
    if (host is None) == (source is None):
        raise click.UsageError("give --host URL, or --from FILE")
    if save is not None:
        saving.check(save, force=shown["force"])
        saving.with_variables(target)
    if raw is not None:
        saving.check_new(raw, "give another path")
    if told := secrets.advice(loaded.target):
        output.warn(told)
    try:
        result = _result(host, source, target, client, question)
    except KeyboardInterrupt:  # before or after the question
        ctx.exit(STOPPED)
    if raw is not None:
        saving.write(raw, result.first.probe.body, new=True)
    if shown["as_json"]:
        output.document(document.document(result) + "\n")
    else:
        screen.show(result, console_of(None), every=shown["every"])
    saved = save is not None and _save(save, result, loaded, force=shown["force"])
    ctx.exit(_exit_code(result, saved=saved))


def _result(host: str | None, source: str | None, target: Target, client: str, question: str) -> Result:
    if host is not None:
        if sys.stderr.isatty():
            output.warn(f"asking {host} … (Ctrl-C shows what has come until then)")
        return try_out(host, target, client, question)
    assert source is not None
    try:
        return Result(Try.of(reread(contents(source, _MOST_BYTES), target)))
    except OSError as fault:
        raise ConfigError(f"--from {source}: cannot be read: {fault.strerror}") from None


def _save(path: Path, result: Result, config: Config, *, force: bool) -> bool:
    """Whether a config was saved: only one that a complete answer came with."""
    working = result.working
    if working is None or not working.probe.asked:
        output.warn(f"{path}: not written, because no answer was complete")
        return False
    probe = working.probe
    text = saving.text(
        f"{probe.site.endpoint.origin}{probe.site.endpoint.base}",
        saving.with_variables(probe.target),
        config,
        model_comment(probe),
    )
    saving.write(path, text.encode(), new=not force)
    output.warn(f"{path}: written")
    return True


def _exit_code(result: Result, *, saved: bool) -> int:
    if any(made.probe.stopped for made in (result.first, *result.again)):
        return STOPPED
    if result.first.probe.seen.outcome is Outcome.INTERRUPTED:
        return Exit.INCONCLUSIVE
    return Exit.MET if result.first.completed or saved else Exit.MISSED
