"""The docs' table of a run's options, from the table in the code: `python -m tests.support.options_table` writes it."""

import re

from streamgauge.harness.run.options import OPTIONS, Option, help_for_command
from tests.support.command import REPOSITORY

PAGE = REPOSITORY / "docs/reference/configuration.md"
BLOCK = re.compile(r"(<!-- This table is generated[^\n]*-->\n)(.*?)(\n<!-- end of the generated table -->)", re.DOTALL)


def table() -> str:
    head = "| `streamgauge run` | plain `locust` | meaning | default |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_cells(option))} |\n" for option in OPTIONS.values())


def documented() -> str:
    block = BLOCK.search(PAGE.read_text())
    assert block is not None, f"{PAGE}: the marks of the generated table are missing"
    return block[2]


def _cells(option: Option) -> tuple[str, str, str, str]:
    value = "" if option.kind is bool else f" {option.metavar or '|'.join(option.choices) or 'N'}".replace("|", "\\|")
    short = f", `{option.short}`" if option.short else ""
    command = f"`{option.command}{value}`{short}" if option.command else "–"
    default = option.without or (f"`{option.default}`" if option.default is not None else "")
    return command, f"`{option.locust}`", help_for_command(option), default


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda block: block[1] + table() + block[3], PAGE.read_text()))
