"""Rows as a Parquet file. The only door to pyarrow, which is an extra: it takes 150 MB, and few need it."""

from collections.abc import Iterable, Sequence
from typing import IO, Any

from streamgauge.harness.errors import InstallError
from streamgauge.harness.judge.store import Column, ExportedRow

_TYPES = {"text": "string", "json": "string", "whole": "int64", "number": "double"}


def write(file: IO[bytes], columns: Sequence[Column], batches: Iterable[Sequence[ExportedRow]]) -> None:
    """NULL: not observed. InstallError without pyarrow."""
    pyarrow, writer_of = _pyarrow()
    schema = pyarrow.schema([(column.name, _TYPES[column.type]) for column in columns])
    with writer_of(file, schema, compression="zstd") as writer:
        for batch in batches:
            values = zip(schema, zip(*batch, strict=True), strict=True)
            arrays = [pyarrow.array(column, field.type) for field, column in values]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415 - an extra, and slow to import
        from pyarrow.parquet import ParquetWriter  # noqa: PLC0415
    except ImportError as fault:
        raise InstallError(
            f"--format parquet needs pyarrow ({fault}); install it: pip install 'streamgauge[parquet]'"
        ) from None
    return pyarrow, ParquetWriter
