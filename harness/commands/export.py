"""`streamgauge export`: streams or chunks for other programs."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.counting import some
from streamgauge.harness.errors import OutputError
from streamgauge.harness.judge.outputs import exports, lines, standard_output, whole_file
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.store import ExportedRow, Store, chunk_rows, stream_rows

_STANDARD_OUTPUT = "-"
_ROWS = {stream_rows: "stream", chunk_rows: "chunk"}


@click.command(name="export")
@click.argument("db")
@click.option(
    "--format",
    "name",
    metavar=" | ".join(exports.FORMATS),
    help="csv: safe to open in a spreadsheet. json: an object in each line. parquet: needs the extra "
    "streamgauge[parquet].  [default: by the ending of FILE, or else csv]",
)
@click_options.run_ids
@click.option("--chunks", "rows", flag_value="chunks", help="Write a row for each chunk, and not for each stream.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default=_STANDARD_OUTPUT,
    show_default=True,
    help="Write to this file, whole or not at all; - for standard output.",
)
def command(db: str, name: str | None, run_ids: tuple[str, ...], rows: str | None, output: str) -> None:
    """Export every measured stream as CSV, JSON or Parquet.

    Without --run, those of all runs. The columns are those of the view `stream_metrics`.
    """
    name = exports.named(name, output)
    _check_output(db, name, output)
    read = chunk_rows if rows else stream_rows
    with Store.open(db) as store:
        runs = [store.run(run_id).id for run_id in run_ids] or [run.id for run in store.runs() or [store.run()]]
        columns, batches = read(store, [*dict.fromkeys(runs)])
        counted = _Counted(batches)
        with standard_output() if output == _STANDARD_OUTPUT else whole_file(output) as file:
            exports.FORMATS[name](file, columns, counted)
    of = f"{some(counted.rows, _ROWS[read])} of {some(len(runs), 'run')}"
    if output != _STANDARD_OUTPUT:
        lines.show(f"{output}: {of}, as {name}")
    elif not counted.rows:
        lines.warn(f"streamgauge: {of}: nothing was measured")


def _check_output(db: str, name: str, output: str) -> None:
    """OutputError for a place that the rows must not go to."""
    if output == _STANDARD_OUTPUT:
        if name == "parquet" and sys.stdout.isatty():
            raise OutputError("--format parquet: a terminal cannot show it; write -o FILE, or send it to a program")
        return
    check_place(output)
    if Path(output).exists() and Path(db).exists() and Path(output).samefile(db):
        raise OutputError(f"{output}: is the database that is exported; give another path")


class _Counted:
    """Batches, and how many rows of them have passed."""

    def __init__(self, batches: Iterator[list[ExportedRow]]) -> None:
        self._batches = batches
        self.rows = 0

    def __iter__(self) -> Iterator[Sequence[ExportedRow]]:
        for batch in self._batches:
            yield batch
            self.rows += len(batch)
