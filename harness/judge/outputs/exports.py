"""Rows for other programs: the formats of `streamgauge export`. Each writes batch by batch, so memory stays bounded."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import msgspec

from streamgauge.harness.errors import OutputError
from streamgauge.harness.judge.outputs import parquet, spreadsheet
from streamgauge.harness.judge.store import Column, ExportedRow
from streamgauge.harness.judge.wording import escaped_json
from streamgauge.harness.near_miss import listed

Batches = Iterable[Sequence[ExportedRow]]
Write = Callable[[IO[bytes], Sequence[Column], Batches], None]

_ENDINGS = {".csv": "csv", ".json": "json", ".ndjson": "json", ".jsonl": "json", ".parquet": "parquet"}


def named(name: str | None, output: str) -> str:
    """The format of this name; without one, the format of the file's ending, or else csv. OutputError if unknown."""
    if name is None:
        return _ENDINGS.get(Path(output).suffix.lower(), "csv")
    if name not in FORMATS:
        raise OutputError(f"--format {name!r}: no such format; there are {listed(name, FORMATS)}")
    return name


def _csv(file: IO[bytes], columns: Sequence[Column], batches: Batches) -> None:
    """RFC 4180 with a header. Empty cell: not observed."""
    file.write(_csv_lines([[column.name for column in columns]]))
    for batch in batches:
        cells = (
            map(_cell, values) if column.type in {"text", "json"} else values
            for column, values in zip(columns, zip(*batch, strict=True), strict=True)
        )
        file.write(_csv_lines(zip(*cells, strict=True)))


def _csv_lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@lru_cache(10_000)
def _cell(value: Any) -> Any:
    return spreadsheet.text(value) if isinstance(value, str) else value


def _json(file: IO[bytes], columns: Sequence[Column], batches: Batches) -> None:
    """One JSON object in each line. null: not observed."""
    names = [column.name for column in columns]
    objects = [place for place, column in enumerate(columns) if column.type == "json"]
    for batch in batches:
        lines = []
        for row in batch:
            values: list[Any] = list(row)
            for place in objects:
                values[place] = None if row[place] is None else _decoded(row[place])
            lines.append(msgspec.json.encode(dict(zip(names, values, strict=True))))
        file.write(escaped_json(b"\n".join(lines).decode()).encode() + b"\n")


@lru_cache(10_000)
def _decoded(text: Any) -> Any:
    return msgspec.json.decode(text)


FORMATS: Mapping[str, Write] = {"csv": _csv, "json": _json, "parquet": parquet.write}
