"""The docs' table of the presets, from the table in the code: `python -m tests.support.presets_table` writes it."""

import re

from streamgauge.harness.config.presets import PRESETS
from tests.support.command import REPOSITORY

PAGE = REPOSITORY / "docs/reference/presets.md"
BLOCK = re.compile(r"(<!-- This table is generated[^\n]*-->\n)(.*?)(<!-- end of the generated table -->)", re.DOTALL)


def table() -> str:
    rows = (f"| `{name}` | {', '.join(f'`{rule}`' for rule in rules)} |\n" for name, rules in PRESETS.items())
    return "| preset | rules |\n|---|---|\n" + "".join(rows) + "\n"


def documented() -> str:
    block = BLOCK.search(PAGE.read_text())
    assert block is not None, f"{PAGE}: the marks of the generated table are missing"
    return block[2]


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda block: block[1] + table() + block[3], PAGE.read_text()))
