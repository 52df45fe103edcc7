"""One hostile text in every field that outsiders write, through every command and every output."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.judge.compare import baseline
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.wording import harmless
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.run.terminal import say
from tests.support.command import REPOSITORY, invoke
from tests.support.hostile_text import ACTING, NASTY
from tests.support.record import database, observation, ttfts
from tests.support.report_page import Page

_COMMAND = re.compile(r"^\s*(::[a-z-]+[ :]|##\[)", re.MULTILINE | re.IGNORECASE)  # of GitHub


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nasty") / "one.db"
    named: dict[str, Any] = dict.fromkeys(
        ("user", "network", "behaviour", "client", "protocol", "worker", "scenario"), NASTY
    )
    streams = [
        *ttfts(range(100, 130), labels={NASTY: NASTY, "phase": NASTY}, **named),
        observation([], outcome=Outcome.REFUSED, detail=NASTY, request_id=NASTY, stop_reason=NASTY, **named),
    ]
    rules = [Sla(rule="p95(ttft) < 1ms", where=Where(user=NASTY, label={NASTY: NASTY}))]
    for number in range(2):
        database(
            path, streams, id=f"{NASTY}{number}", scenario=NASTY, host=NASTY, rules=rules, notes=[NASTY],
            labels={"branch": NASTY, "commit": f"@SUM(1+1){NASTY}", NASTY: NASTY}, fingerprint={NASTY: NASTY},
            config={NASTY: NASTY}, instrument={NASTY: NASTY, "workers": {NASTY: {"host": NASTY, "stamps": NASTY}}},
        )  # fmt: skip
    with Store.open(path) as store:
        baseline.accept(store, "-1+1", [f"{NASTY}0"], force=NASTY)
    return path


def test_nothing_from_outside_acts_on_a_terminal_or_on_a_ci_log(path: Path, tmp_path: Path) -> None:
    page, run = tmp_path / "page.html", ("--run", f"{NASTY}1")
    commands: list[tuple[object, ...]] = [
        *(
            ("judge", path, "--output", f"{kind}=-")
            for kind in ("json", "junit", "gitlab", "markdown", "badge", "text")
        ),
        *(("compare", path, "--baseline", "-1+1", *run, "--output", f"{kind}=-") for kind in ("json", "junit", "text")),
        ("runs", path),
        ("judge", path),
        ("judge", path, "--run", NASTY * 2),
        ("judge", path, "--output", "github"),
        ("report", path, "-o", page),
        ("history", path),
        ("history", path, "--csv", "-"),
        ("compare", path, "--run", f"{NASTY}0", *run),
        ("baseline", "list", path),
        ("baseline", "accept", path, "--name", "b", *run),
        ("baseline", "noise", path, "--name", "-1+1"),
        ("baseline", "export", path, "--name", "-1+1", "-o", "-"),
        ("baseline", "remove", path, "--name", "b", "--run", "=unknown"),
        ("baseline", "list", f"{path}{NASTY}"),
    ]
    for words in commands:
        result = invoke(*words)
        assert result.exception is None or isinstance(result.exception, SystemExit), words
        assert result.output, words
        assert not ACTING.search(result.output), (words, result.output)
        own = r"^::(error|warning) title=[^:\n]*::.*$" if "github" in words else r"(?!)"
        assert not _COMMAND.search(re.sub(own, "", result.output, flags=re.MULTILINE)), words


def test_a_history_has_no_formula_for_a_spreadsheet(path: Path) -> None:
    rows = list(csv.reader(io.StringIO(invoke("history", path, "--csv", "-").stdout)))
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    texts = [cell for row in rows[1:] for cell in row if not re.fullmatch(r"[-\d.]*|inf", cell)]
    assert len(texts) > 5
    assert not [text for text in texts if re.match(r"\s*[=+\-@\t]", text)]


def test_documents_keep_their_syntax(path: Path, tmp_path: Path) -> None:
    assert json.loads(invoke("judge", path, "--json", "-").stdout)["run"]["host"] == NASTY, "JSON keeps the text itself"
    ElementTree.fromstring(invoke("judge", path, "--output", "junit=-").stdout.encode())
    ElementTree.fromstring(invoke("judge", path, "--output", "badge=-").stdout)
    invoke("report", path, "-o", tmp_path / "page.html")
    read = Page((tmp_path / "page.html").read_text())
    assert not [script for script in read.scripts if "alert(1)" in script]
    invoke("history", path, "-o", tmp_path / "history.html")
    assert "<script>alert" not in (tmp_path / "history.html").read_text()


def test_a_run_s_own_lines_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    say(NASTY)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert not ACTING.search(shown)
    assert not _COMMAND.search(shown.replace(" ::", "\n::"))
    assert shown == f"{harmless(NASTY)}\n"


def test_only_one_door_writes_to_the_terminal() -> None:
    doors = {
        "harness/judge/outputs/lines.py", "harness/run/terminal.py", "harness/cli.py",
        "harness/run/fork_output.py",  # passes on what workers print, which is Locust's and the scenario's
        "harness/programs.py",  # its own words on processes that it ends
    }  # fmt: skip
    writing = re.compile(r"click\.s?echo|(?<![\w.])print\(|sys\.(stdout|stderr)\.write")
    files = [file for folder in ("harness", "reports") for file in (REPOSITORY / folder).rglob("*.py")]
    found = {str(file.relative_to(REPOSITORY)) for file in files if writing.search(file.read_text())}
    assert found == doors
