"""Writes a result in each format that `--json` and `--output` ask for. `kinds` parses these options."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.outputs import badge, github, gitlab, json, junit, markdown, save, terminal
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.verdict.judgement import Judgement


class Format(NamedTuple):
    of_run: Callable[[Judgement], str]
    of_comparison: Callable[[Comparison], str]


FORMATS: Mapping[str, Format] = {  # by the names in `kinds.FILES`
    "json": Format(json.render, json.comparison),
    "junit": Format(junit.render, junit.comparison),
    "gitlab": Format(gitlab.render, gitlab.comparison),
    "markdown": Format(markdown.render, markdown.comparison),
    "badge": Format(badge.render, badge.comparison),
    "text": Format(terminal.text, terminal.comparison_text),
}


def show(result: Judgement | Comparison, outputs: Sequence[Output]) -> None:
    """Print the result, and write it in each format. An output to standard output replaces what is printed.

    StoreError if a file cannot be written.
    """
    is_replaced = _uses_standard_output(outputs)
    if not is_replaced:
        terminal.show(result)
    for kind, path in outputs:
        if path is None:
            github.write(result, to=sys.stderr if is_replaced else None)
        elif path == "-":
            sys.stdout.write(_text(result, FORMATS[kind]))
            sys.stdout.flush()
        else:
            save(_text(result, FORMATS[kind]), path)


def _uses_standard_output(outputs: Iterable[Output]) -> bool:
    return any(output.path == "-" for output in outputs)


def _text(result: Judgement | Comparison, kind: Format) -> str:
    return kind.of_run(result) if isinstance(result, Judgement) else kind.of_comparison(result)
