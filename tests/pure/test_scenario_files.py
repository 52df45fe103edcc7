"""The shipped scenarios as files: each says which question it answers, and is listed where scenarios are."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.command import invoke

REPOSITORY = Path(__file__).parents[2]
SCENARIOS = sorted((REPOSITORY / "scenarios").glob("[a-z]*.py"))
README = (REPOSITORY / "scenarios/README.md").read_text()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_says_which_question_it_answers(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "?" in said.split("\n\n")[0]
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_no_class_of_a_scenario_does_what_its_base_does_beside_its_own(path: Path) -> None:
    """Locust adds a class's tasks to those of its base, also where they have the same name."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    busy = {
        one.name
        for one in classes
        if any(isinstance(part, ast.FunctionDef) and part.decorator_list for part in one.body)
    }
    for one in classes:
        assert one.name not in busy or not busy & {base.id for base in one.bases if isinstance(base, ast.Name)}


def test_the_help_of_run_names_every_scenario_and_no_other() -> None:
    said = invoke("run", "--help").stdout
    names = " ".join(said.split()).partition("the name of a shipped one: ")[2].partition(". scenarios/README.md")[0]
    assert re.findall(r"\w+", names.replace(" or ", ", ")) == [path.stem for path in SCENARIOS]


def test_the_readme_has_every_scenario_and_no_other() -> None:
    assert sorted(re.findall(r"^\| \[`(\w+)`\]\(\1\.py\)", README, re.MULTILINE)) == [path.stem for path in SCENARIOS]
