"""`make sample-report`: runs the demo, and puts its report into docs/ for people who want to see one first."""

import shutil
import tempfile
from pathlib import Path

from tests.browser.report_picture import DOCS, demo

MOST_BYTES = 2_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = demo(Path(folder))
        if page.stat().st_size > MOST_BYTES:
            raise SystemExit(f"the page has {page.stat().st_size:,} bytes, of at most {MOST_BYTES:,}")
        shutil.copy(page, DOCS / "sample-report.html")
    print(f"sample-report.html in {DOCS}: look at it before you commit it")


if __name__ == "__main__":
    main()
