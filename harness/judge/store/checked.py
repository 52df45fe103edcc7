"""Values of the file, checked: whatever a damaged or hostile file holds is a `RowFault`. Pure.

The file may come from somebody else, and its tables need not be those that this program makes. So each value's type,
size and meaning are checked here, where rows become typed values, and nowhere else.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import msgspec

from streamgauge.harness.config.duration import decode
from streamgauge.harness.counting import some

LONGEST_TEXT = 10_000  # characters of a name or a sentence
LONGEST_JSON = 4 * 2**20  # bytes
_DEEPEST = 32  # levels of JSON; what this program writes has 5
LONGEST_SHOWN = 100  # characters of a wrong value

T = TypeVar("T")


class RowFault(Exception):
    """A value that this program never writes. The message is one line: `runs, row 3, column status: …`."""

    def __init__(self, table: str, row: object, column: str, problem: str) -> None:
        super().__init__(f"{table}, row {row}, column {column}: {problem}")


class Row:
    """One row of a table; each call returns a column's value, or raises RowFault."""

    def __init__(self, table: str, row: object, values: dict[str, Any], unread: str = "") -> None:
        """`unread`: why the values could not be read at all."""
        self._table, self._row, self._values, self._unread = table, row, values, unread

    def fail(self, column: str, problem: str) -> NoReturn:
        raise RowFault(self._table, self._row, column, problem)

    def value(self, column: str) -> object:
        """Unchecked."""
        if self._unread:
            self.fail(column, self._unread)
        return self._values.get(column)

    def name(self, column: str) -> str:
        """The text of a column; "" if it is none, for a row that is checked later."""
        value = self._values.get(column)
        return value if isinstance(value, str) else ""

    def text(self, column: str, longest: int = LONGEST_TEXT) -> str:
        value = self.value(column)
        if not isinstance(value, str):
            self.fail(column, f"{shown(value)} is no text")
        if len(value) > longest:
            self.fail(column, f"a text of {some(len(value), 'character')}; at most {longest:,} are read")
        return value

    def one_of(self, column: str, allowed: Iterable[str]) -> str:
        value = self.text(column)
        if value not in allowed:
            self.fail(column, f"{shown(value)} is none of {', '.join(allowed)}")
        return value

    def moment(self, column: str) -> str:
        """A time of ISO 8601."""
        value = self.text(column)
        try:
            datetime.fromisoformat(value)
        except ValueError:
            self.fail(column, f"{shown(value)} is not a time such as 2026-11-23T09:00:00+00:00")
        return value

    def whole(self, column: str) -> int:
        value = self.value(column)
        if type(value) is not int:
            self.fail(column, f"{shown(value)} is no whole number")
        return value

    def whole_or_none(self, column: str) -> int | None:
        return None if self.value(column) is None else self.whole(column)

    def json(self, column: str, kind: type[T]) -> T:
        """A JSON document of this type."""
        text = self.text(column, LONGEST_JSON)
        try:
            value = msgspec.json.decode(text, type=kind, dec_hook=decode)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
            self.fail(column, f"not the JSON that belongs here: {shown(fault)}")
        if _is_deeper(value, _DEEPEST):
            self.fail(column, f"JSON of more than {_DEEPEST} levels")
        return value

    def fits(self, column: str, value: object, kind: type[T]) -> T:
        """A part of the JSON document in this column, as a value of this type."""
        try:
            return msgspec.convert(value, kind, dec_hook=decode)
        except msgspec.ValidationError as fault:
            self.fail(column, f"not the JSON that belongs here: {shown(fault)}")


def shown(value: object) -> str:
    """A wrong value, short, for an error message."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"a blob of {some(len(value), 'byte')}"
    text = repr(value[:LONGEST_SHOWN]) if isinstance(value, str) else str(value)
    return text if len(text) <= 2 * LONGEST_SHOWN else f"{text[: 2 * LONGEST_SHOWN]}…"


def text_or_bytes(raw: bytes) -> str | bytes:
    """For `sqlite3.Connection.text_factory`: text that is not UTF-8 stays bytes instead of ending the query."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def are_only(values: Sequence[object], *types: type) -> bool:
    """Whether a column has only these types. `bool` never comes from SQLite."""
    return set(map(type, values)) <= {*types}


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in value)
