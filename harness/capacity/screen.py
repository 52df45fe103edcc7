"""The search in a terminal: how the bracket closes while it runs, and at the end the answer.

Where there is no terminal, such as in CI, a line for each visit instead.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from streamgauge.harness.capacity import sentences
from streamgauge.harness.capacity.found import Found, Level
from streamgauge.harness.capacity.path import Order, Purpose, Search
from streamgauge.harness.capacity.sequential import Outcome, Visit
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.outputs.rich_text import Console, Text, live, safe, screen_console

_WIDTH = 48  # characters of the bracket
_SIGNS = {Outcome.PASSED: ("✓", "green"), Outcome.MISSED: ("✗", "red"), Outcome.UNDECIDED: ("?", "yellow")}
_WHY = {
    Purpose.CLIMB: "on the way up",
    Purpose.BISECT: "inside the bracket",
    Purpose.CONFIRM: "again, to confirm",
    Purpose.SWEEP: "of the sweep",
}


class Screen:
    """Told by the search how it goes on."""

    def __init__(self, unit: Unit, console: Console | None = None) -> None:
        self._unit = unit
        self._console = console or screen_console()
        self._live = None if not self._console.is_terminal else live(self._console)
        self._search: Search | None = None
        self._bracket = Text("")

    @contextmanager
    def shown(self) -> Iterator["Screen"]:
        if self._live is None:
            yield self
            return
        with self._live:
            yield self

    def visits(self, order: Order, search: Search) -> None:
        self._search = search
        self._draw(order, "the level fills")

    def looks(self, order: Order, visit: Visit) -> None:
        counts = visit.counts()
        widest = max(counts, key=lambda count: count.limit.share)
        self._draw(order, f"{some(widest.streams, 'stream')}, {_bad(widest.bad, widest.streams)}")

    def visited(self, level: Level, search: Search) -> None:
        self._console.print(line(level, search, self._unit), soft_wrap=True)

    def _draw(self, order: Order, now: str) -> None:
        if self._live is None or self._search is None:
            return
        passed, not_passed = self._search.passed, self._search.not_passed
        self._live.update(
            Text.assemble(
                bracket(passed, not_passed, order.users, self._unit),
                "\n",
                safe(f"{self._unit.amount(order.users)}, {_WHY[order.purpose]}: {now}"),
            )
        )

    def told(self, found: Found) -> None:
        """The answer."""
        first, *rest = sentences.answer(found)
        self._console.print(Text(""), Text.assemble((safe(first).plain, "bold")), soft_wrap=True, sep="\n")
        for sentence in rest:
            self._console.print(safe(sentence), soft_wrap=True)
        self._console.print(safe(f"run {found.run}: {sentences.cost(found)}"), style="dim", soft_wrap=True)


def line(level: Level, search: Search, unit: Unit) -> Text:
    """One visit: `✗ 64 users missed  154 streams, 127 bad (82 %)  p95(ttft) 250 ms  now between 32 and 64`."""
    sign, colour = _SIGNS[level.verdict]
    counted = f"{some(level.streams, 'stream')}, {_bad(level.bad, level.streams)}"
    figures = ", ".join(f"{rule.figure} {sentences.observed(rule)}" for rule in level.rules[:2])
    why = f"  the load generator: {level.generator.partition(';')[0]}" if level.generator else ""
    why += "; once more" if search.is_to_be_repeated else ""
    return Text.assemble(
        (f"{sign} {unit.plain(level.users):>5} {unit.short(level.users)} {level.verdict:<9}", colour),
        safe(f"  {counted:<32} {figures:<36} {_between(search, unit)}{why}"),
    )


def _bad(bad: int, streams: int) -> str:
    return f"{bad:,} bad ({figure(bad / streams, 'ratio')})" if streams else "none ended yet"


def _between(search: Search, unit: Unit) -> str:
    passed, not_passed = search.passed, search.not_passed
    if passed is None:
        return "" if not_passed is None else f"below {unit.plain(not_passed)}"
    low = unit.plain(passed)
    return f"{low} or more" if not_passed is None else f"between {low} and {unit.plain(not_passed)}"


def bracket(passed: int | None, not_passed: int | None, users: int, unit: Unit) -> Text:
    """A logarithmic line of users: passed up to here, not passed from there, and where the search is now."""
    most = 2.0 * max(passed or 1, not_passed or 1, users)

    def place(number: float) -> int:
        return round((_WIDTH - 1) * math.log(number) / math.log(most))

    low = 0 if passed is None else place(passed)
    high = _WIDTH if not_passed is None else place(not_passed)
    now = place(users)
    cells = [("━", "green") if at < low else ("━", "red") if at >= high else ("·", "dim") for at in range(_WIDTH)]
    cells[min(now, _WIDTH - 1)] = ("●", "bold")
    known = "" if passed is None else f"{unit.plain(passed)} ✓"
    beyond = "" if not_passed is None else f"✗ {unit.plain(not_passed)}"
    return Text.assemble((f"{known:>8} ", "green"), *cells, (f" {beyond}", "red"))
