"""`--output KIND=FILE`: parses the options, and writes a result in each format that they ask for.

In a GitHub job, which the environment shows, `github` is always one of the formats.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from streamgauge.harness.errors import OutputError
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.outputs import badge, github, gitlab, json, junit, markdown, save, terminal
from streamgauge.harness.judge.verdict.judgement import Judgement


class Format(NamedTuple):
    of_run: Callable[[Judgement], str]
    of_comparison: Callable[[Comparison], str]


KINDS: Mapping[str, Format] = {  # those that are written to a file
    "json": Format(json.render, json.comparison),
    "junit": Format(junit.render, junit.comparison),
    "gitlab": Format(gitlab.render, gitlab.comparison),
    "markdown": Format(markdown.render, markdown.comparison),
    "badge": Format(badge.render, badge.comparison),
    "text": Format(terminal.text, terminal.comparison_text),
}
_GITHUB = "github"  # writes annotations to standard output, and the step summary to GitHub's file
_GITHUB_VARIABLES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


class Output(NamedTuple):
    kind: str
    path: str | None  # None: github, which takes no file; "-": standard output


def requested(
    options: Sequence[str], json_path: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Output]:
    """What `--json` and `--output` ask for, each once. OutputError for an unknown kind or a missing file."""
    outputs = [_parsed(text) for text in (*([f"json={json_path}"] if json_path else []), *options)]
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_STEP_SUMMARY"):
        outputs.append(Output(_GITHUB, None))
    return list(dict.fromkeys(outputs))


def _parsed(text: str) -> Output:
    kind, separator, path = text.partition("=")
    if kind != _GITHUB and kind not in KINDS:
        raise OutputError(f"--output {text!r}: no output called {kind!r}; there are {', '.join([*KINDS, _GITHUB])}")
    if kind == _GITHUB and separator:
        raise OutputError(f"--output {text!r}: github takes no file; for a file, write markdown={path or 'FILE'}")
    if kind != _GITHUB and not path:
        raise OutputError(f"--output {text!r}: no file is given; write {kind}=FILE, or {kind}=- for standard output")
    return Output(kind, path or None)


def environment_without_github(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for one run of several whose results are reported together: that run must not report itself."""
    return {name: value for name, value in environ.items() if name not in _GITHUB_VARIABLES}


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
            sys.stdout.write(_text(result, KINDS[kind]))
            sys.stdout.flush()
        else:
            save(_text(result, KINDS[kind]), path)


def _uses_standard_output(outputs: Iterable[Output]) -> bool:
    return any(output.path == "-" for output in outputs)


def _text(result: Judgement | Comparison, kind: Format) -> str:
    return kind.of_run(result) if isinstance(result, Judgement) else kind.of_comparison(result)
