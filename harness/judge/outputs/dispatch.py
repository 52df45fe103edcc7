"""`--output KIND=FILE`: which formats were asked for, and writing a verdict in each of them.

In a GitHub job, which the environment reveals, `github` is always among them.
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
_GITHUB = "github"  # writes to where GitHub reads: annotations and the step summary
_GITHUB_VARIABLES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


class Output(NamedTuple):
    kind: str
    path: str | None  # None: github, which takes no file; "-": standard output


def requested(
    options: Sequence[str], json_path: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Output]:
    """What `--json` and `--output` ask for, each once. OutputError for an unknown kind or a missing file."""
    found = [_parsed(text) for text in (*([f"json={json_path}"] if json_path else []), *options)]
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_STEP_SUMMARY"):
        found.append(Output(_GITHUB, None))
    return list(dict.fromkeys(found))


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
    """For one run of several whose results are written together: that run must not write to GitHub by itself."""
    return {name: value for name, value in environ.items() if name not in _GITHUB_VARIABLES}


def show(found: Judgement | Comparison, outputs: Sequence[Output]) -> None:
    """Print the result, and write it in each format. An output to standard output replaces what is printed.

    StoreError if a file cannot be written.
    """
    is_replaced = _uses_standard_output(outputs)
    if not is_replaced:
        terminal.show(found)
    for kind, path in outputs:
        if path is None:
            github.write(found, to=sys.stderr if is_replaced else None)
        elif path == "-":
            sys.stdout.write(_text(found, KINDS[kind]))
            sys.stdout.flush()
        else:
            save(_text(found, KINDS[kind]), path)


def _uses_standard_output(outputs: Iterable[Output]) -> bool:
    return any(output.path == "-" for output in outputs)


def _text(found: Judgement | Comparison, kind: Format) -> str:
    return kind.of_run(found) if isinstance(found, Judgement) else kind.of_comparison(found)
