"""`--output KIND=FILE`: which ways of telling a verdict were asked for, and then telling it in each of them.

A GitHub job is told without being asked for: where the environment says that it is one, `github` is among them.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from streamgauge.harness.errors import OutputError
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.outputs import badge, github, gitlab, json, junit, markdown, save, terminal
from streamgauge.harness.judge.verdict.judgement import Judgement

KINDS: Mapping[str, tuple[Callable[[Judgement], str], Callable[[Comparison], str]]] = {  # those with a file
    "json": (json.render, json.comparison),
    "junit": (junit.render, junit.comparison),
    "gitlab": (gitlab.render, gitlab.comparison),
    "markdown": (markdown.render, markdown.comparison),
    "badge": (badge.render, badge.comparison),
    "text": (terminal.text, terminal.comparison_text),
}
_GITHUB = "github"  # has places of its own
_NEWS = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


class Output(NamedTuple):
    kind: str
    path: str | None  # None: a place of its own; "-": standard output


def asked_for(given: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[Output]:
    """What `--output` was given, each once. OutputError for a kind that does not exist, or a file that is missing."""
    found = [_parsed(text) for text in given]
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_STEP_SUMMARY"):
        found.append(Output(_GITHUB, None))
    return list(dict.fromkeys(found))


def unheard(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a run that CI is not to hear of by itself: one of several that are told together."""
    return {name: value for name, value in environ.items() if name not in _NEWS}


def _parsed(text: str) -> Output:
    kind, given, path = text.partition("=")
    if kind != _GITHUB and kind not in KINDS:
        raise OutputError(f"--output {text!r}: no output called {kind!r}; there are {', '.join([*KINDS, _GITHUB])}")
    if kind == _GITHUB and given:
        raise OutputError(f"--output {text!r}: github takes no file; for one, write markdown={path or 'FILE'}")
    if kind != _GITHUB and not path:
        raise OutputError(f"--output {text!r}: where to? Write {kind}=FILE, or {kind}=- for standard output")
    return Output(kind, path or None)


def to_standard_output(outputs: Iterable[Output]) -> bool:
    """Whether one of them goes there; then it goes alone."""
    return any(output.path == "-" for output in outputs)


def tell(found: Judgement | Comparison, outputs: Sequence[Output]) -> None:
    """StoreError when one cannot be written."""
    taken = to_standard_output(outputs)
    for kind, path in outputs:
        if path is None:
            github.tell(found, to=sys.stderr if taken else None)
            continue
        of_run, of_runs = KINDS[kind]
        text = of_run(found) if isinstance(found, Judgement) else of_runs(found)
        if path == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            save(text, path)
