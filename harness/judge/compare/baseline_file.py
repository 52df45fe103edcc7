"""A baseline as one small JSON file, `streamgauge/baseline/1`: to commit it, or to hand it to CI.

{"schema": "streamgauge/baseline/1", "name": "main", "runs": [{"run": …, "fingerprint": {…},
 "figures": {"p95(ttft)": [412.3, 1000]}, …}]}        a figure is [value, samples]; the value is null if it is +∞
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from streamgauge.harness.config.contents import contents
from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.compare.gate import RunFigure
from streamgauge.harness.judge.wording import escaped_json

SCHEMA = "streamgauge/baseline/1"
_MOST_BYTES = 64 * 2**20
_JSON_FAULTS = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a baseline."""

    run: str
    started_at: str
    fingerprint: dict[str, Any]
    labels: dict[str, str] = {}
    figures: dict[str, RunFigure] | None = None  # by metric, as the config writes it; None: computed from its streams
    forced: str | None = None  # why it was accepted although it is no example; None: it was not


class BaselineFile(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    name: str
    runs: list[Member]


def render(name: str, runs: Iterable[Member]) -> str:
    head = msgspec.json.encode({"schema": SCHEMA, "name": name}).decode().removesuffix("}")
    lines = ",\n".join(msgspec.json.encode(each).decode() for each in runs)  # one run a line keeps diffs readable
    return escaped_json(f'{head},"runs":[\n{lines}\n]}}\n')


def read(path: str) -> BaselineFile:
    """BaselineError for a file that is missing, damaged, too large, empty, or of another version."""
    try:
        document = msgspec.json.decode(contents(path, _MOST_BYTES), type=dict[str, Any])
        _check_schema(path, document.get("schema"))
        baseline = msgspec.convert(document, BaselineFile)
    except OSError as fault:
        raise BaselineError(f"{path}: cannot be read: {fault.strerror}") from None
    except _JSON_FAULTS as fault:
        raise BaselineError(f"{path}: not a baseline, or a damaged one: {fault}") from None
    if not baseline.runs:
        raise BaselineError(f"{path}: the baseline {baseline.name!r} has no runs")
    if not all(text.isprintable() for text in (baseline.name, *(each.run for each in baseline.runs))):
        raise BaselineError(f"{path}: a name in it has characters that cannot be printed")
    without = next((each.run for each in baseline.runs if each.figures is None), None)
    if without is not None:
        raise BaselineError(f"{path}: {without!r} has no figures; `streamgauge baseline export` writes them")
    return baseline


def member(place: str, document: dict[str, Any]) -> Member:
    """The run of a baseline in `document`. BaselineError, which begins with `place`, if it is none."""
    try:
        return msgspec.convert(document, Member)
    except _JSON_FAULTS as fault:
        raise BaselineError(f"{place}: not a run of a baseline: {fault}") from None


def _check_schema(path: str, schema: object) -> None:
    if schema == SCHEMA:
        return
    if isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0]):
        raise BaselineError(f"{path}: written by another version of streamgauge ({schema}); this one reads {SCHEMA}")
    raise BaselineError(f"{path}: not a baseline; `streamgauge baseline export` writes one")
