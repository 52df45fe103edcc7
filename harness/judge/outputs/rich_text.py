"""Rich's console, tables and text, safe for text from outside. No other module imports rich.

A status is a word and a sign, never colour alone. Text from outside is never read as markup.
"""

from collections.abc import Callable
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.wording import harmless

__all__ = ["Console", "Table", "console_of", "safe", "status", "table_of", "without_colour"]


def console_of(console: Console | None) -> Console:
    """Standard output, if there is no console."""
    return console or Console(highlight=False)


def without_colour(draw: Callable[[Console], None], width: int) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        draw(console)
    return captured.get()


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
