"""A diagnosis for a terminal of 80 columns or more: what is wrong, what is well, and last what nobody could tell.

What comes from outside cannot act on the terminal.
"""

from collections import Counter
from collections.abc import Sequence

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.diagnosis import Diagnosis, Item
from streamgauge.harness.doctor.result import Status
from streamgauge.harness.judge.outputs.rich_text import Console, safe, status, table_of

_MANY = 4  # checks that could not look for the same reason, and have a line each
_TOLD = (Status.FAIL, Status.WARN)  # with all there is to say; of the others a line each


def show(diagnosis: Diagnosis, console: Console) -> None:
    evidence = diagnosis.evidence
    console.print(status(diagnosis.status, f": {diagnosis.sentence}"))
    console.print(safe(about(diagnosis)), style="dim")
    for item in (item for told in _TOLD for item in diagnosis.having(told)):
        _whole(item, console)
    _table(diagnosis.having(Status.PASS), console)
    if diagnosis.status_of("answers") is not Status.PASS:
        console.print()
        console.print(safe(f"Without an answer, none of the other {len(diagnosis.items) - 1} checks could look."))
    else:
        _unknown(diagnosis.having(Status.UNKNOWN), console)
    for advice in evidence.advice:
        console.print()
        console.print(safe(advice.says))
        for line in advice.lines.splitlines():
            console.print(safe(line), soft_wrap=True, style="bold")


def _unknown(items: Sequence[Item], console: Console) -> None:
    """A line each, and one for all that could not look for the same reason."""
    alike = Counter(item.result.says for item in items)
    _table([item for item in items if alike[item.result.says] <= _MANY], console)
    for says, n in alike.items():
        if n > _MANY:
            console.print(status(Status.UNKNOWN, f"  {n} others: {says}"))


def _table(items: Sequence[Item], console: Console) -> None:
    """A line each."""
    if items:
        console.print()
        table = table_of("", "", "")
        for item in items:
            table.add_row(status(item.result.status), safe(item.check.title), safe(item.result.says))
        table.show_header = False
        console.print(table)


def about(diagnosis: Diagnosis) -> str:
    """What was asked, and what answered: one line."""
    evidence = diagnosis.evidence
    names = ", ".join(product.name for product in evidence.products)
    stopped = ", stopped before all was asked" if evidence.stopped else ""
    return (
        f"{evidence.url}, read as {evidence.protocol}: {some(evidence.requests, 'request')} "
        f"in {evidence.seconds:,.0f} s"
        f"{stopped}{f'; recognised: {names}' if names else ''}"
    )


def _whole(item: Item, console: Console) -> None:
    console.print()
    console.print(status(item.result.status, f" {item.result.says}"))
    console.print(safe(f"  Expected: {item.check.title}. {item.check.why}."), style="dim")
    for fix in item.result.fixes:
        console.print(safe(f"  {fix.line}"), style="bold", soft_wrap=True)
        console.print(safe(f"    {fix.source}"), style="dim", soft_wrap=True)
