"""Writes a result in each format that `--json` and `--output` ask for. `kinds` parses these options."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TextIO

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated, Result
from streamgauge.harness.judge.outputs import (
    badge,
    github,
    gitlab,
    json,
    junit,
    lines,
    markdown,
    save,
    terminal,
    write_each,
)
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.verdict.judgement import Judgement


class Format(NamedTuple):
    of_run: Callable[[Judgement], str]
    of_comparison: Callable[[Comparison], str]
    of_both: Callable[[Gated], str]


FORMATS: Mapping[str, Format] = {  # by the names in `kinds.FILES`
    "json": Format(json.render, json.comparison, json.gated),
    "junit": Format(junit.render, junit.comparison, junit.gated),
    "gitlab": Format(gitlab.render, gitlab.comparison, gitlab.gated),
    "markdown": Format(markdown.render, markdown.comparison, markdown.gated),
    "badge": Format(badge.render, badge.comparison, badge.gated),
    "text": Format(terminal.text, terminal.comparison_text, terminal.gated_text),
}


def show(
    result: Result,
    outputs: Sequence[Output],
    more: Iterable[Callable[[], None]] = (),
    printing: Callable[[Result], None] = terminal.show,
) -> None:
    """Print the result by `printing`, write it in each format, and call `more`.

    Output to standard output replaces what is printed.

    Each is tried, even if one fails. StoreError if one did.
    """
    is_replaced = _uses_standard_output(outputs)
    printed = [] if is_replaced else [partial(_print, result, printing)]
    to = sys.stderr if is_replaced else None
    write_each([*printed, *(partial(_write, result, output, to) for output in outputs), *more])


def _print(result: Result, printing: Callable[[Result], None]) -> None:
    printing(result)
    sys.stdout.flush()


def _write(result: Result, output: Output, to: TextIO | None) -> None:
    """`to` is where GitHub's annotations go; None: standard output."""
    if output.path is None:
        github.write(result, to=to)
    elif output.path == "-":
        lines.document(_text(result, FORMATS[output.kind]))
    else:
        save(_text(result, FORMATS[output.kind]), output.path)


def _uses_standard_output(outputs: Iterable[Output]) -> bool:
    return any(output.path == "-" for output in outputs)


def _text(result: Result, kind: Format) -> str:
    if isinstance(result, Gated):
        return kind.of_both(result)
    return kind.of_run(result) if isinstance(result, Judgement) else kind.of_comparison(result)
