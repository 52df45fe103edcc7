"""What the documentation speaks of is there: files, names in code, metrics."""

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamgauge.reference_server import exposition
from streamgauge.reference_server.sessions import Sessions
from streamgauge.reference_server.streams import Streams
from streamgauge.reference_server.truth import TruthLog

FOLDER = Path(__file__).parents[2] / "docs"
DOCS = sorted(FOLDER.rglob("*.md"))
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]+)\)")


def names(module: Path) -> set[str]:
    """What a module defines at its top, and what its classes do, as `Class.method`."""
    found = set()
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                functions = (each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
                found |= {name, *(f"{name}.{function.name}" for function in functions)}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(FOLDER)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for text, target in LINK.findall(page.read_text()):
        file = page.parent / target
        assert file.exists(), f"{page.name}: {target}"
        if file.suffix == ".py" and re.fullmatch(r"`[\w.]+`", text):
            assert text.strip("`").removeprefix(f"{file.stem}.") in names(file), f"{page.name}: {text} in {target}"


def test_every_metric_of_the_reference_server_is_documented_and_no_other() -> None:
    text = exposition.metrics(Sessions(Streams(0, 1, TruthLog(None)))).decode()
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }
    assert set(re.findall(r"`(reference_\w+)`", (FOLDER / "reference/reference-server.md").read_text())) == families
