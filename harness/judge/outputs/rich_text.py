"""Rich's console, tables and text, safe for text from outside. No other module imports rich.

A status is a word and a sign, never colour alone. Text from outside is never read as markup.
"""

import re
from collections.abc import Callable, Iterable
from io import StringIO
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.wording import harmless

if TYPE_CHECKING:
    from rich.live import Live

__all__ = [
    "Console",
    "Table",
    "Text",
    "cells",
    "console_of",
    "errors_console",
    "for_terminal",
    "live",
    "safe",
    "screen_console",
    "status",
    "table_of",
    "without_colour",
]

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def console_of(console: Console | None) -> Console:
    """Standard output, if there is no console."""
    return console or Console(highlight=False)


class _Steady(Console):
    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - as rich has it
        """Do nothing: a cursor that is hidden stays so if the program is killed."""
        return False


def screen_console() -> Console:
    """Standard output, for `live`."""
    return _Steady(highlight=False)


def errors_console() -> Console:
    """Standard error, for when standard output is a document."""
    return _Steady(stderr=True, highlight=False)


def live(console: Console) -> "Live":
    """A part of the terminal that is drawn again and again; what is printed meanwhile goes above it."""
    from rich.live import Live  # noqa: PLC0415 - only for a screen

    return Live(console=console, refresh_per_second=4, transient=True)


def without_colour(draw: Callable[[Console], None], width: int) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        draw(console)
    return captured.get()


def for_terminal(texts: Iterable[Text], width: int) -> list[str]:
    """A line for each text, cut at this width, in the colours that TERM, COLORTERM and NO_COLOR allow."""
    console = Console(file=StringIO(), width=width, highlight=False, force_terminal=True, legacy_windows=False)
    with console.capture() as captured:
        for text in texts:
            console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
    return captured.get().splitlines()


def cells(line: str) -> int:
    """The columns that a line of `for_terminal` takes."""
    return cell_len(_COLOURS.sub("", line))


def status(word: str, rest: str = "") -> Text:
    style = STYLES[word]
    return Text.assemble((f"{style.sign} {word.upper()}", f"bold {style.terminal}"), safe(rest))


def safe(untrusted: str) -> Text:
    """Text without markup, control characters, or workflow commands that GitHub would execute from the log."""
    return Text(harmless(untrusted))


def table_of(*columns: str) -> Table:
    """A column whose name begins with `>` is aligned right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(safe(column.removeprefix(">")), justify="right" if column.startswith(">") else "left")
    return table
