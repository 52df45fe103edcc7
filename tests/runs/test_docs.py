"""The documentation is true: its links lead somewhere, what it names exists, and its code blocks are accepted."""

import ast
import importlib
import json
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamgauge.harness import cli
from streamgauge.harness.config.load import load
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.store import Store
from streamgauge.reference_server import exposition
from streamgauge.reference_server import options as serve
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.sessions.registry import Sessions
from streamgauge.reference_server.truth import TruthLog

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "docs"
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "scenarios/README.md")
PAGES = [*(REPOSITORY / name for name in OTHERS), *sorted(FOLDER.rglob("*.md"))]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])+)\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_PATH = re.compile(r"`((?:harness|reference_server|reports|scenarios|tests|docs|src|templates)/[\w./-]*\w/?)`")
SOURCES = [
    path
    for folder in ("harness", "reference_server", "reports", "scenarios", "tests", "templates")
    for path in sorted((REPOSITORY / folder).rglob("*"))
    if path.suffix in {".py", ".c", ".css", ".js", ".jinja", ".json", ".md", ".yml"}
]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(language: str) -> list[object]:
    """The fenced blocks in this language, as parameters of a test."""
    return [
        pytest.param(text, id=f"{name_of(page)}-{number}")
        for page in PAGES
        for number, (found, text) in enumerate(FENCE.findall(page.read_text()), 1)
        if found == language
    ]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def names(module: Path) -> set[str]:
    """What a module defines at its top, and the methods of its classes as `Class.method`."""
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for text, target, anchor in LINK.findall(prose(page)):
        file = page.parent / target if target else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name_of(page)}: {target}#{anchor}"
        if file.suffix == ".py" and re.fullmatch(r"`[\w.]+`", text) and text.strip("`") != file.stem:
            assert text.strip("`").removeprefix(f"{file.stem}.") in names(file), f"{name_of(page)}: {text} in {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    missing = [path for path in CODE_PATH.findall(prose(page)) if not (REPOSITORY / path).exists()]
    assert missing == []


def test_the_folders_that_the_architecture_draws_are_those_that_exist() -> None:
    page = (FOLDER / "architecture.md").read_text()
    drawn = page[page.index("## The folders") : page.index("**Who may import whom**")]
    parents: list[str] = []
    folders = set()
    for indent, name in re.findall(r"^    ( *)([\w/.]+)(?:  +.*)$", drawn, re.MULTILINE):
        del parents[len(indent) // 2 :]
        parents.append(name)
        folders.add("/".join(part.rstrip("/") for part in parents))
    assert [folder for folder in folders if not (REPOSITORY / folder).exists()] == []
    packages = {str(init.parent.relative_to(REPOSITORY)) for init in (REPOSITORY / "harness").rglob("__init__.py")}
    assert packages - folders == set()


def test_the_layers_that_the_architecture_draws_are_those_that_lint_checks() -> None:
    page = (FOLDER / "architecture.md").read_text()
    drawn = page[
        page.index("    entry\n    cli · testing") : page.index("The reference server and the harness know nothing")
    ]
    lines = [set(re.findall(r"\w+", line)) - {"reports"} for line in drawn.strip().splitlines()]
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    harness = next(each for each in contracts if each.get("containers") == ["streamgauge.harness"])
    assert lines == [set(re.findall(r"\w+", layer)) for layer in harness["layers"]]


def test_every_page_that_the_code_names_exists() -> None:
    named = {
        (name_of(source), page)
        for source in [
            *SOURCES,
            REPOSITORY / "streamgauge.toml",
            REPOSITORY / "action.yml",
            REPOSITORY / "pyproject.toml",
        ]
        for page in re.findall(r"\bdocs/[\w/-]+\.(?:md|json|png)\b", source.read_text())
    }
    assert [(source, page) for source, page in sorted(named) if not (REPOSITORY / page).exists()] == []


def test_every_file_that_the_code_names_exists() -> None:
    path = re.compile(r"\b(?:tests|harness|reports|reference_server|scenarios)/[a-z_/0-9]+\.(?:py|c|h|js|css)\b")
    named = {(name_of(source), file) for source in SOURCES for file in path.findall(source.read_text())}
    assert [(source, file) for source, file in sorted(named) if not (REPOSITORY / file).exists()] == []


def test_every_page_is_in_the_index() -> None:
    listed = {(FOLDER / target).resolve() for _, target, _ in LINK.findall((FOLDER / "README.md").read_text())}
    assert [name_of(page) for page in FOLDER.rglob("*.md") if page not in {*listed, FOLDER / "README.md"}] == []


def test_every_metric_and_rate_is_defined_and_no_other() -> None:
    page = (FOLDER / "concepts/metrics.md").read_text()
    tables = page[page.index("## Distributions") : page.index("## Smoothness")]
    assert set(re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE)) == {*METRICS, *RATES}


def test_the_front_page_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("text", blocks("python"))
def test_a_python_block_compiles_and_imports_what_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom):
            continue
        package = (node.module or "").partition(".")[0]
        assert package not in {"harness", "scenarios", "reports", "reference_server"}
        if package != "streamgauge":
            continue
        if node.module == "streamgauge.scenario":  # importing it imports Locust, which patches this process
            exported = ast.literal_eval(
                next(
                    each.value
                    for each in ast.parse((REPOSITORY / "src/streamgauge/scenario.py").read_text()).body
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__all__"
                )
            )
        else:
            exported = dir(importlib.import_module(node.module or ""))
        assert {each.name for each in node.names} <= set(exported)


@pytest.mark.parametrize("text", blocks("toml"))
def test_a_toml_block_is_a_config_that_is_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "block.toml"
    file.write_text(text)
    load(file)


@pytest.mark.parametrize("text", blocks("json"))
def test_each_line_of_a_json_block_is_json(text: str) -> None:
    for line in text.splitlines():
        assert json.loads(line)


@pytest.mark.parametrize("text", blocks("sql"))
def test_an_sql_block_asks_for_columns_that_exist(text: str, tmp_path: Path) -> None:
    with Store.create(tmp_path / "empty.db"):
        pass
    database = sqlite3.connect(tmp_path / "empty.db")
    for statement in filter(str.strip, text.split(";")):
        database.execute(statement)
    database.close()


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell block, as words."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def parse(command: click.Command, name: str, words: list[str]) -> None:
    """Click's own parser, without the command's effect; UsageError for an option that does not exist."""
    if {"--help", "--version"} & set(words):
        return
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        found, sub, rest = command.resolve_command(context, words)
        assert sub is not None
        parse(sub, f"{name} {found}", rest)
    else:
        command.make_context(name, words)


@pytest.fixture(scope="module")
def locust_help() -> str:
    """Locust's own options and ours, in a process of its own: importing Locust patches the standard library."""
    program = "import streamgauge.scenario\nfrom locust.argument_parser import get_parser\nget_parser([]).print_help()"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("text", blocks("sh"))
def test_a_shell_block_uses_commands_and_options_that_exist(text: str, locust_help: str) -> None:
    targets = re.findall(r"^([\w-]+):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for words in commands(text):
        match words:
            case ["streamgauge", "serve", *rest]:
                parse(serve.parse, "serve", rest)
            case ["streamgauge", *rest]:
                ours, _, locusts = " ".join(shlex.quote(word) for word in rest).partition(" -- ")
                parse(cli.main, "streamgauge", shlex.split(ours))
                assert [each for each in shlex.split(locusts) if each[0] == "-" and each not in locust_help] == []
            case ["locust", *rest]:
                options = [word.partition("=")[0] for word in rest if word.startswith("-")]
                assert [each for each in options if not re.search(rf"{each}\b", locust_help)] == []
            case ["make", *rest]:
                assert {word for word in rest if "=" not in word} <= set(targets)
            case _:
                pass


def test_the_pre_commit_hooks_run_what_make_install_installs() -> None:
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    programs = re.findall(r"entry: \.venv/bin/([\w-]+)", hooks)
    assert len(programs) == len(re.findall(r"entry:", hooks)) >= 4
    assert [name for name in programs if not Path(sys.executable).with_name(name).exists()] == []
    assert "://" not in hooks
    assert re.findall(r"repo: (\w+)", hooks) == ["local"]


def test_every_metric_of_the_reference_server_is_documented_and_no_other() -> None:
    text = exposition.metrics(Sessions(Streams(0, TruthLog(None)))).decode()
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }
    assert set(re.findall(r"`(reference_\w+)`", (FOLDER / "reference/reference-server.md").read_text())) == families


def messages_of_the_code() -> list[str]:
    """Every string in the sources; the placeholders of f-strings read `\0`."""
    found = []
    for source in SOURCES:
        if source.suffix != ".py" or source.is_relative_to(REPOSITORY / "tests"):
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (each.value if isinstance(each, ast.Constant) else "\0" for each in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_the_troubleshooting_page_occurs_in_the_code() -> None:
    page = (FOLDER / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`]+)`", prose(FOLDER / "troubleshooting.md"), re.MULTILINE)
    assert len(quoted) == len(re.findall(r"^\| `", page, re.MULTILINE)) > 40
    strings = [*messages_of_the_code(), (REPOSITORY / "Makefile").read_text()]
    asked = {message: [piece.strip() for piece in message.split("…")] for message in quoted}
    assert [message for message, pieces in asked.items() if not any(in_order(pieces, each) for each in strings)] == []


def in_order(pieces: Sequence[str], text: str) -> bool:
    """Whether the text has each piece behind the one before it."""
    end = 0
    for piece in pieces:
        begin = text.find(piece, end)
        if begin < 0:
            return False
        end = begin + len(piece)
    return True


def test_the_page_of_all_commands_is_what_their_help_says() -> None:
    module = "tests.support.commands_page"
    page = subprocess.run([sys.executable, "-m", module], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    written = (REPOSITORY / "docs/reference/commands.md").read_text()
    assert written == page.stdout, f"write it anew: python -m {module} > docs/reference/commands.md"
