"""One design for every page: the report, the comparison, the history and the playground share reports/design.css."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DESIGN = ROOT / "reports/design.css"
SHEETS = [ROOT / "reports/page.css", ROOT / "reference_server/static/style.css"]
USERS = [*SHEETS, *(ROOT / "reports").rglob("*.py"), *(ROOT / "reports").glob("*.js")]
DEFINED = re.compile(r"(--[\w-]+):")


def test_the_playground_has_the_design_of_the_report() -> None:
    """A link in the checkout; an archive that cannot hold links has a copy."""
    assert (ROOT / "reference_server/static/design.css").read_bytes() == DESIGN.read_bytes()
    assert (
        '<link rel="stylesheet" href="static/design.css">' in (ROOT / "reference_server/static/index.html").read_text()
    )


def test_no_other_sheet_has_colours_of_its_own() -> None:
    for sheet in SHEETS:
        assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)|\b(?:rgb|hsl)a?\(", sheet.read_text()) == [], sheet.name


def test_every_variable_is_defined() -> None:
    shared = {*DEFINED.findall(DESIGN.read_text())}
    for path in USERS:
        text = path.read_text()
        used = {*re.findall(r"var\((--[\w-]+)[,)]", text)}
        assert used - shared - {*DEFINED.findall(text)} == set(), path.name


def test_dark_gives_every_colour_another_value() -> None:
    light, dark = DESIGN.read_text().split("@media (prefers-color-scheme: dark)")
    colours = {*re.findall(r"(--[\w-]+): (?:#|rgba)", light)}
    assert colours - {*DEFINED.findall(dark)} == {"--shadow"}, "a shadow is black on black, too"
