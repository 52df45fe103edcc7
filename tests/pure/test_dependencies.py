"""What is installed is what is used, and a run without the compiled library says so."""

import ast
import re
import tomllib
from pathlib import Path

from streamgauge.harness.native.library import slower

REPOSITORY = Path(__file__).parents[2]


def test_every_package_that_is_required_is_imported_by_the_product() -> None:
    """Issue 17, 20: each costs every CI job time."""
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    required = {re.split(r"[<>=!~ ]", each)[0].replace("-", "_").lower() for each in listed}
    imported = set()
    for folder in ("harness", "reports", "reference_server", "scenarios", "src"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
                imported |= {name.partition(".")[0].lower() for name in names}
    assert required - imported == set()


def test_a_run_without_the_compiled_library_says_so_in_one_line() -> None:
    said = slower(None, "linux")
    assert "slower reader is in use" in said
    assert "install" in said
    assert "\n" not in said
    assert slower(object(), "linux") == ""
    assert slower(None, "darwin") == "", "there, no compiler helps"
