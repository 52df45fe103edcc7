"""A run's labels: those given as NAME=VALUE, and the git branch and commit of the build under test."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from streamgauge.harness.errors import ScenarioError

_CI = {  # label → the environment variables in which a CI service gives it
    "branch": ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME"),
    "commit": ("GITHUB_SHA", "CI_COMMIT_SHA"),
}
_GIT = {"branch": ["--abbrev-ref", "HEAD"], "commit": ["HEAD"]}


def parse(given: Iterable[str], flag: str) -> dict[str, str]:
    """Parse labels written as NAME=VALUE. ScenarioError, naming the option `flag`, for any other form."""
    labels = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ScenarioError(f"{flag} {text!r}: write it as NAME=VALUE")
        labels[name] = value
    return labels


def written(labels: Mapping[str, str]) -> list[str]:
    """The inverse of `parse`."""
    return [f"{name}={value}" for name, value in labels.items()]


def provenance(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`branch` and `commit`, from CI's variables or from git in the working directory; absent if neither knows."""
    labels = {}
    for label, variables in _CI.items():
        value = next((environ[variable] for variable in variables if environ.get(variable)), None) or _git(_GIT[label])
        if value:
            labels[label] = value
    return labels


def _git(words: Sequence[str]) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", *words],  # noqa: S607 - the git on the user's PATH
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    value = answer.stdout.strip()
    return None if value == "HEAD" else value  # a detached HEAD has no branch
