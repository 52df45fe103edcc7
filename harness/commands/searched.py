"""`streamgauge judge` of a search for a capacity: it says again what was found."""

from collections.abc import Mapping, Sequence
from functools import partial

from streamgauge.harness.capacity.found import exit_code
from streamgauge.harness.capacity.kept import found_of
from streamgauge.harness.capacity.outputs import check, write
from streamgauge.harness.capacity.screen import Screen
from streamgauge.harness.commands import click_options
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.outputs.rich_text import errors_console
from streamgauge.harness.judge.store import Run, Store


def told(store: Store, run: Run, outputs: Sequence[Output], given: Mapping[str, bool]) -> Exit:
    """Tell what this search found. UsageError for an option that only the judgement of a run has. StoreError."""
    found = found_of(store, run)
    click_options.refuse_of_search(given, found.run, "whose levels were judged while it went on")
    check(outputs)
    console = errors_console() if any(output.path == "-" for output in outputs) else None
    write(found, outputs, [partial(Screen(found.unit, console).told, found)])
    return exit_code(found)
