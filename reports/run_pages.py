"""Which file of a folder is the report of which run, for links between pages."""

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from streamgauge.harness.errors import OutputError

_HEAD = 8_192  # bytes in which a page says whose it is
_MOST_FILES = 20_000
_RUN = re.compile(r'<meta name="streamgauge-run" content="([^"]*)">')


def links(folder: str, page: str) -> dict[str, str]:
    """For each run that has a report in the folder: its address, as seen from the page at the path `page`.

    A report says of which run it is, whatever its file is called. A page of an older version counts by its name, which
    must be RUN.html. Of several reports of one run, the newest counts. OutputError if there is no such folder.
    """
    if not Path(folder).is_dir():
        raise OutputError(f"--reports {folder}: there is no such folder; give the one that holds the reports")
    way = Path(os.path.relpath(Path(folder).resolve(), Path(page).resolve().parent))
    return {run: quote((way / name).as_posix()) for _, name, run in sorted(_pages(Path(folder)))}


def _pages(folder: Path) -> Iterator[tuple[float, str, str]]:
    """When each page was written, its file's name, and its run."""
    for path in sorted(folder.glob("*.html"))[:_MOST_FILES]:
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                head = file.read(_HEAD).decode("utf-8", "replace")
            written = path.stat().st_mtime
        except OSError:
            continue
        told = _RUN.search(head)
        yield written, path.name, html.unescape(told[1]) if told else path.stem
