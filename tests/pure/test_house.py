"""How large files and functions may be, which imports there are, and that a package lists its modules.

An exception carries its reason on the line of its `def`.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("harness", "reports", "reference_server", "scenarios", "src/streamgauge", "tests")
FILE_LINES, FUNCTION_LINES, DEPTH = 400, 50, 3

FILES = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py") if not path.is_symlink())
LISTED_FROM = 5  # modules: a package of this size or larger lists them, each with its one noun, in the order of reading
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_REASON = re.compile(r"# (long|deep): \S")
# What a test of tests/pure may not import: it belongs into another tier then. The types of rows open nothing.
COSTLY = re.compile(r"streamgauge\.(harness\.judge\.store(?!\.rows)|reports)|sqlite3|socket|subprocess|multiprocessing")
WRITERS = {"new_store", "database", "judged"}  # functions of tests.support.record that make databases


def _below(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """The statements directly inside this one, each with whether it is the `if` of an `elif`.

    Expressions hold no blocks, and they are most of a tree.
    """
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        inside = getattr(node, name, [])
        for child in inside:
            yield (
                child,
                name == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If) and len(inside) == 1,
            )


def _depth(node: ast.AST) -> int:
    """How many blocks are inside each other below this node; an `elif` is no deeper than its `if`."""
    deepest = 0
    for child, chained in _below(node):
        if not isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            deepest = max(deepest, _depth(child) + (isinstance(child, _BLOCKS) and not chained))
    return deepest


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for child, _ in _below(node):
        if isinstance(child, _FUNCTIONS):
            yield child
        yield from _functions(child)


def _imported(node: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere below this node."""
    for child, _ in _below(node):
        if isinstance(child, ast.Import):
            yield from (each.name for each in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
        else:
            yield from _imported(child)


@cache
def _read() -> dict[str, tuple[list[str], set[str]]]:
    """For each file its faults, and the modules that it imports. Parsing them all takes a second."""
    found = {}
    for path in FILES:
        source = path.read_text()
        tree = ast.parse(source)
        found[str(path.relative_to(REPOSITORY))] = _faults(source, tree), set(_imported(tree))
    return found


def _faults(source: str, tree: ast.AST | None = None) -> list[str]:
    """A sentence for each function of a file that is too large, and for the file itself."""
    lines, faults = source.splitlines(), []
    if len(lines) > FILE_LINES:
        faults.append(f"{len(lines)} lines, of at most {FILE_LINES}")
    for node in _functions(tree or ast.parse(source)):
        # ruff may have put the reason on the line that closes the parameters
        signature = " ".join(lines[node.lineno - 1 : node.body[0].lineno])
        excused = {found[1] for found in _REASON.finditer(signature)}
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES and "long" not in excused:
            faults.append(f"line {node.lineno}: {node.name} has {length} lines, of at most {FUNCTION_LINES}")
        if (depth := _depth(node)) > DEPTH and "deep" not in excused:
            faults.append(f"line {node.lineno}: {node.name} is nested {depth} deep, of at most {DEPTH}")
    return faults


def test_every_file_and_function_is_within_the_limits() -> None:
    checked = {folder for folder in FOLDERS if any(path.is_relative_to(REPOSITORY / folder) for path in FILES)}
    assert checked == set(FOLDERS), "a folder that moved would pass unread"
    assert not {path: faults for path, (faults, _) in _read().items() if faults}


def test_every_package_that_is_required_is_imported_by_the_product() -> None:
    """Issue 17, 20: each costs every CI job time."""
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    required = {re.split(r"[<>=!~ ]", each)[0].replace("-", "_").lower() for each in listed}
    product = (imported for path, (_, imported) in _read().items() if not path.startswith("tests/"))
    assert required - {name.partition(".")[0].lower() for name in set().union(*product)} == set()


def test_a_function_that_is_too_large_is_reported() -> None:
    long = "def long():\n" + "    pass\n" * FUNCTION_LINES
    blocks = (
        "    if 1:\n        for _ in ():\n            while 1:\n                with x:\n                    pass\n"
    )
    deep = f"def deep():\n{blocks}"
    assert len(_faults(long + deep)) == 2
    assert _faults(long.replace("():", "():  # long: a table")) == []
    assert _faults("pass\n" * (FILE_LINES + 1)) == [f"{FILE_LINES + 1} lines, of at most {FILE_LINES}"]


def test_an_elif_is_no_deeper_than_its_if() -> None:
    chain = "def chain():\n    if 1:\n        pass\n" + "    elif 2:\n        pass\n" * 9
    assert _faults(chain) == []


def test_a_package_of_many_modules_lists_each_of_them() -> None:
    """Except scenarios: `scenarios/README.md` lists those."""
    wrong = {}
    for init in FILES:
        if init.name != "__init__.py" or init.relative_to(REPOSITORY).parts[0] in {"tests", "scenarios"}:
            continue
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__"}
        listed = re.findall(r"^(\w+)   +\S", ast.get_docstring(ast.parse(init.read_text())) or "", re.MULTILINE)
        if len(modules) >= LISTED_FROM and sorted(listed) != sorted(modules):
            wrong[str(init.relative_to(REPOSITORY))] = modules ^ set(listed)
    assert wrong == {}


def _costly(source: str) -> set[str]:
    """What a file imports that opens databases, renders pages, or starts something."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if COSTLY.match(name.name)}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {name.name for name in node.names if COSTLY.match(f"{module}.{name.name}")}
            found |= WRITERS & {name.name for name in node.names} if module == "tests.support.record" else set()
    return found


def test_the_quick_tests_open_no_database_render_no_page_and_start_nothing() -> None:
    found = {path.name: _costly(path.read_text()) for path in (REPOSITORY / "tests/pure").glob("*.py")}
    assert {name: imports for name, imports in found.items() if imports} == {}
    costly = "import sqlite3\nfrom tests.support.record import judged, ttfts\nfrom streamgauge.reports import page"
    assert _costly(costly) == {"sqlite3", "judged", "page"}
