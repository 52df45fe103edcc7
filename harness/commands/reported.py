"""What `streamgauge report` does, apart from the command itself, which imports this while another process starts."""

from collections.abc import Mapping

import msgspec

from streamgauge.harness.capacity import sentences
from streamgauge.harness.capacity.found import Found
from streamgauge.harness.capacity.kept import found_in
from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.rules_file import rules_and_reader
from streamgauge.harness.judge.outputs import lines, save
from streamgauge.harness.judge.second_process import SecondProcess
from streamgauge.harness.judge.store import Aliases, Store, redact
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.reports.material import gather


def write(
    db: str, second: SecondProcess | None, run_id: str | None, config: str | None, output: str, redacted: bool
) -> None:
    """Write the page of this run of this database, which `second` will read, to a file."""
    rules, reader = rules_and_reader(config)
    with Store.open(db) as store:
        store.second_process = second
        found = found_in(store, run_id)
        if found is not None:
            _write_search(found, output, {"redact": redacted, "config": config is not None})
            return
        aliases = redact(store) if redacted else None
        if aliases is not None and rules is not None:
            rules = [_redacted(rule, aliases) for rule in rules]
        material = gather(store, run_id, rules, reader)
    from streamgauge.reports import page  # noqa: PLC0415 - `gather` imports it while streams are being read
    from streamgauge.reports.html import finished  # noqa: PLC0415

    written = page.render(material) if aliases is None else page.render_redacted(material, aliases)
    save(finished(written), output)
    how = ", redacted" if redacted else ""
    lines.show(f"{output}: {material.judgement.run.id}, {material.judgement.verdict}{how}")


def _write_search(found: Found, output: str, given: Mapping[str, bool]) -> None:
    """The page of a search for a capacity. UsageError for an option that it does not have."""
    from streamgauge.reports import capacity  # noqa: PLC0415 - plotly takes 0.1 s, which the page of a run needs later
    from streamgauge.reports.html import finished  # noqa: PLC0415

    click_options.refuse_of_search(given, found.run, "whose page has no such option")
    save(finished(capacity.render(found)), output)
    lines.show(f"{output}: {found.run}, {sentences.answer(found)[0]}")


def _redacted(rule: Rule, aliases: Aliases) -> Rule:
    return msgspec.structs.replace(rule, written=aliases.sla(rule.written))
