"""`streamgauge report`: the HTML page of a run."""

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.rules_file import rules_and_reader
from streamgauge.harness.judge.outputs import lines, save
from streamgauge.harness.judge.store import Store
from streamgauge.reports import page
from streamgauge.reports.material import gather


@click.command(name="report")
@click.argument("db")
@click_options.run_id
@click_options.config_for("Judge by the rules of this file.", "the rules that the run was run with")
@click.option(
    "-o", "--output", metavar="FILE", default="report.html", show_default=True, help="Write the page to this file."
)
def command(db: str, run_id: str | None, config: str | None, output: str) -> None:
    """Write the HTML report of a run.

    The report is one self-contained file that opens without a network.
    """
    rules, reader = rules_and_reader(config)
    with Store.open(db) as store:
        material = gather(store, run_id, rules, reader)
    save(page.render(material), output)
    lines.show(f"{output}: {material.judgement.run.id}, {material.judgement.verdict}")
