"""Draws a run that goes on, for a terminal of any size from 40×10 on. Pure: returns lines, writes nothing."""

import itertools
from collections.abc import Iterator

from streamgauge.harness.counting import some
from streamgauge.harness.judge.figures import NONE, figure
from streamgauge.harness.judge.outputs.rich_text import Text, for_terminal, safe
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.wording import shortened, words
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.harness.run.latest import Now
from streamgauge.harness.run.view import View

_WIDEST = 100  # columns
_BAR = 24  # columns of the bar of progress
_FEWEST_RULES = 1  # that are shown in the lowest terminal


def lines(view: View, width: int, height: int) -> list[str]:
    """At most `height` lines that fit into `width` columns."""
    head, figures, tail = [*_head(view)], [*_figures(view)], [*_tail(view)]
    rules = [*_rules(view, max(height - len(head) - len(figures) - len(tail), _FEWEST_RULES))]
    blocks = [head, figures, rules, tail]
    if sum(map(len, blocks)) + len(blocks) <= height:
        blocks = [[*block, Text()] for block in blocks if block]
    return for_terminal(itertools.chain(*blocks), min(width, _WIDEST))[:height]


def _head(view: View) -> Iterator[Text]:
    yield Text.assemble(safe(view.scenario).append(" · "), safe(view.host), style="bold")
    yield Text(_progress(view))
    if view.warm_up:
        left = f"warm-up: {view.warm_up:,.0f} s left; its streams are in no figure of the result"
        yield Text(left, style="dim")
    seconds = view.figures.seconds or 1.0
    yield Text(
        f"{some(view.users, 'user')}, {some(view.active, 'open stream')}, {view.figures.ended / seconds:,.1f} ended/s, "
        f"{view.figures.chunks / seconds:,.0f} chunks/s"
    )


def _progress(view: View) -> str:
    passed = f"{_clock(view.seconds)}"
    if not view.ends:
        return passed
    share = min(view.seconds / view.ends, 1.0)
    full = round(share * _BAR)
    return f"{passed} of {_clock(view.ends)}  {'━' * full}{'─' * (_BAR - full)}  {share:.0%}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _figures(view: View) -> Iterator[Text]:
    """Of columns that do not move: a table of rich's is as wide as its cells, and takes five times as long."""
    style = "dim" if view.warm_up else ""
    titles = "".join(f"{title:>12}" for title in ("p50", "p95", "p99", "samples"))
    yield Text(f"{f'ended in the last {view.figures.seconds:.0f} s':22}{titles}", style="dim")
    for row in view.figures.rows:
        cells = [*(figure(value, row.unit) for value in row.quantiles), f"{row.n:,}"]
        yield Text(f"{row.name.upper():22}{''.join(f'{cell:>12}' for cell in cells)}", style=style)


def _rules(view: View, room: int) -> Iterator[Text]:
    """Those beyond their limit first; as many as there is room for."""
    rules = sorted(view.figures.rules, key=lambda now: now.holds is not False)
    if len(rules) > room:
        rules = rules[: room - 1]
    for now in rules:
        yield _rule(now)
    if more := len(view.figures.rules) - len(rules):
        beyond = sum(now.holds is False for now in view.figures.rules) - sum(now.holds is False for now in rules)
        yield Text(f"  and {some(more, 'more rule')}, {beyond} of them beyond the limit", style="dim")


def _rule(now: Now) -> Text:
    where = now.rule.written.where
    selected = f", {words(where)}" if where.selected() else ""
    style = STYLES["met" if now.holds else "missed"]
    sign = (NONE, "dim") if now.holds is None else (style.sign, style.terminal)
    value = "nothing yet" if now.value is None else figure(now.value, now.rule.subject.unit)
    return Text.assemble(sign, " ", safe(shortened(f"{now.rule.text}{selected}", 60)), ": ", (value, "bold"))


def _tail(view: View) -> Iterator[Text]:
    outcomes = view.outcomes
    failed = sum(outcomes[outcome] for outcome in FAILURES)
    yield Text.assemble(
        f"{some(outcomes.total(), 'stream')}: {outcomes[Outcome.COMPLETED]:,} completed, "
        f"{outcomes[Outcome.CANCELLED]:,} left, ",
        (f"{failed:,} failed", "red" if failed else ""),
    )
    for failure in view.failures[:2]:
        yield Text("  ").append_text(safe(shortened(str(failure), 200)))
    if view.health:
        signs = [(f"{'' if each.fine else '! '}{each.text}", "" if each.fine else "yellow") for each in view.health]
        parts = [part for sign in signs for part in (sign, ", ")][:-1]
        yield Text.assemble("generator: ", *parts)
