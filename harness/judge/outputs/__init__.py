"""A verdict in the formats that people and CI systems read, one file for each. `dispatch` lists them.

kinds             the kinds of output, and `--output` parsed
dispatch          writes each format that is asked for
styles            the sign and colours of a verdict
cells             the cells of tables, as plain text
rich_text         rich's console and tables
terminal          a result for a terminal
terminal_tables   runs, baselines and histories for a terminal
json              the result document
junit             JUnit XML
markdown          Markdown
github            GitHub's summary and annotations
gitlab            GitLab's metrics report
badge             an SVG badge
history_csv       a history as CSV
"""

import os
from pathlib import Path

from streamgauge.harness.errors import StoreError


def save(text: str, path: str | os.PathLike[str]) -> None:
    """Write a file whole or not at all, and its folder if that is missing. StoreError if it cannot be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as fault:
        raise StoreError(f"{path}: cannot be written: {fault.strerror}") from fault
