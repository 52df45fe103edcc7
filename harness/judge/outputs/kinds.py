"""The kinds of output, and what `--json` and `--output KIND=FILE` ask for.

In a GitHub job, which the environment shows, `github` is always asked for. What writes each kind is in `dispatch`: a
command or a worker that only reads its options does not import the writers, or the statistics behind them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streamgauge.harness.errors import OutputError
from streamgauge.harness.near_miss import listed

FILES = ("json", "junit", "gitlab", "markdown", "badge", "text")  # the kinds that are written to a file
_GITHUB = "github"  # writes annotations to standard output, and the step summary to GitHub's file
_GITHUB_VARIABLES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


class Output(NamedTuple):
    kind: str
    path: str | None  # None: github, which takes no file; "-": standard output


def requested(
    options: Sequence[str], json_path: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Output]:
    """What `--json` and `--output` ask for, each once.

    OutputError for an unknown kind, a missing file, or a file that cannot be written.
    """
    outputs = [_parsed(text) for text in (*([f"json={json_path}"] if json_path else []), *options)]
    for output in outputs:
        if output.path not in {None, "-"}:
            check_place(str(output.path))
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get("GITHUB_STEP_SUMMARY"):
        outputs.append(Output(_GITHUB, None))
    return list(dict.fromkeys(outputs))


def _parsed(text: str) -> Output:
    kind, separator, path = text.partition("=")
    if kind != _GITHUB and kind not in FILES:
        raise OutputError(f"--output {text!r}: no output called {kind!r}; there are {listed(kind, [*FILES, _GITHUB])}")
    if kind == _GITHUB and separator:
        raise OutputError(f"--output {text!r}: github takes no file; for a file, write markdown={path or 'FILE'}")
    if kind != _GITHUB and not path:
        raise OutputError(f"--output {text!r}: no file is given; write {kind}=FILE, or {kind}=- for standard output")
    return Output(kind, path or None)


def check_place(name: str) -> None:
    """OutputError if no file of this name can be written: better now than after a run."""
    path = Path(name)
    if path.is_dir():
        raise OutputError(f"{name}: is a folder; give the path of a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"{name}: there is no folder {path.parent}; correct the path, or create the folder")
    if not os.access(path.parent, os.W_OK | os.X_OK) and not _is_special(path):
        raise OutputError(f"{name}: you may not write to the folder {path.parent}; give another path")


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, which is written to and not replaced."""
    return path.exists() and not path.is_file()


def environment_without_github(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for one run of several whose results are reported together: that run must not report itself."""
    return {name: value for name, value in environ.items() if name not in _GITHUB_VARIABLES}
