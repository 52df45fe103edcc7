"""`streamgauge judge`: a verdict from the database alone."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

import click

from streamgauge.harness.capacity.found import Found, exit_code
from streamgauge.harness.capacity.kept import found_in
from streamgauge.harness.capacity.outputs import check, write
from streamgauge.harness.capacity.screen import Screen
from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.rules_file import rules_and_reader
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, kinds, terminal
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.outputs.rich_text import errors_console
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import itl_counts, judgement


@click.command(name="judge")
@click.argument("db")
@click_options.run_id
@click_options.config_for("Judge by the rules of this file.", "the rules that the run was run with")
@click_options.of_run("all", "json", "output", "inconclusive")
@click_options.alert
@click.pass_context
def command(ctx: click.Context, /, db: str, run_id: str | None, config: str | None, **options: Any) -> None:
    """Judge a run again, from its database alone.

    Of a search for a capacity, it says again what was found.
    """
    alerts = _alerting().receivers(config) if options["alert"] else None
    outputs = kinds.requested(options["output"], options["json"])
    rules, reader = rules_and_reader(config)
    with Store.open(db) as store:
        found = found_in(store, run_id)
        if found is not None:
            ctx.exit(_searched(found, outputs, {name: bool(options[name]) for name in ("alert", "all")}, config))
        judged = judgement.judge(store, run_id, rules, reader=reader)
        with suppress(StoreError):  # of a file that is read-only, or that another process is writing to
            itl_counts.keep(store, judged)
    dispatch.show(judged, outputs, printing=terminal.show_all if options["all"] else terminal.show)
    code = judgement.exit_code(judged, options["inconclusive"])
    if alerts is not None:
        _alerting().tell(alerts, judged, code)
    ctx.exit(code)


def _searched(found: Found, outputs: Sequence[Output], given: Mapping[str, bool], config: str | None) -> Exit:
    """Tell what a search found. UsageError for an option that only the judgement of a run has."""
    judged = "whose levels were judged while it went on"
    click_options.refuse_of_search({**given, "config": config is not None}, found.run, judged)
    check(outputs)
    console = errors_console() if any(output.path == "-" for output in outputs) else None
    write(found, outputs, [partial(Screen(found.unit, console).told, found)])
    return exit_code(found)


def _alerting() -> ModuleType:
    """Imported only here: without --alert, no HTTP client is needed."""
    from streamgauge.harness.commands import alerting  # noqa: PLC0415

    return alerting
