"""`streamgauge merge`: joins the databases of several monitors."""

import click

from streamgauge.harness.judge.outputs import kinds, lines
from streamgauge.harness.judge.store import merged


@click.command(name="merge")
@click.argument("db", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", required=True, help="The new database, such as all.db.")
def command(db: tuple[str, ...], output: str) -> None:
    """Join the databases of several monitors, such as one for each region, into a new one.

    The new file is for reading: `incidents`, `report` and `runs` take it. The monitors may go on meanwhile.

    \b
        streamgauge merge eu.db us.db -o all.db
    """
    if len(db) < 2:
        raise click.UsageError("give two databases or more")
    kinds.check_place(output)
    merged.merge(db, output)
    lines.show(f"{output}: written, with what the {len(db)} databases hold")
