"""Percentiles by plain SQL are those of the judgement: the queries of docs/reference/database.md, as they are."""

import re
import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import itl_counts
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.record.observation import StreamObservation
from tests.support.command import invoke
from tests.support.record import database, observation

PAGE = Path(__file__).parents[2] / "docs/reference/database.md"
OLD = Path(__file__).parents[1] / "data/written-by-0.1.0/database.sqlite"


def query(name: str) -> str:
    texts = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (text,) = [text for text in texts if text.startswith(f"SELECT {name}")]
    return str(text)


def canned() -> dict[str, str]:
    """The queries of datasette.yaml by name. Each is the block below its `sql: |-`."""
    text = PAGE.with_name("datasette.yaml").read_text()
    found = re.findall(r"^      (\w+):\n        title: .+\n        sql: \|-\n((?: {10}.+\n)+)", text, re.MULTILINE)
    assert len(found) == text.count("sql:") > 5
    return dict(found)


def rows(path: Path, text: str, run: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(text.replace("…", run)).fetchall()
    connection.close()
    return found


def streams() -> list[StreamObservation]:
    """Forty answers of different speeds on two networks."""
    draw = Random(3)
    found = []
    for number in range(40):
        at = draw.lognormvariate(5, 0.5)
        chunks = []
        for _ in range(30):
            chunks.append(("text", at))
            at += draw.lognormvariate(3, 0.7)
        found.append(observation(chunks, network=("wifi", "slow_4g")[number % 2]))
    return found


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Path, Judgement]:
    path = database(tmp_path / "one.db", streams())
    with Store.open(path) as store:
        judged = judge(store)
        itl_counts.keep(store, judged)
    return path, judged


def test_percentiles_of_ttft(judged: tuple[Path, Judgement]) -> None:
    path, judgement = judged
    ((p95,),) = rows(path, query("min(ttft_ms) AS p95_ttft_ms"), judgement.run.id)
    assert p95 == pytest.approx(judgement.metrics["ttft"].quantiles[1])
    by_network = rows(path, query("network, n"), judgement.run.id)
    parts = {part.value: part.metrics["ttft"].quantiles for part in judgement.parts if part.key == "network"}
    assert {name: n for name, n, *_ in by_network} == {"slow_4g": 20, "wifi": 20}
    for name, _, p50, p95 in by_network:
        assert (p50, p95) == pytest.approx(parts[str(name)][:2])


@pytest.mark.parametrize("network", [None, "slow_4g"])
def test_percentiles_of_itl_to_three_significant_digits(judged: tuple[Path, Judgement], network: str | None) -> None:
    path, judgement = judged
    text = query("min(gap_ms) AS p95_itl_ms")
    metric = judgement.metrics["itl"]
    if network:
        text = text.replace("'…'", f"'…' AND network = '{network}'")
        metric = next(part.metrics["itl"] for part in judgement.parts if part.value == network)
    ((p95,),) = rows(path, text, judgement.run.id)
    assert p95 == float(f"{metric.quantiles[1]:.3g}")
    condition = f" AND network = '{network}'" if network else ""
    assert rows(path, f"SELECT sum(gaps) FROM itl WHERE run_id = '…'{condition}", judgement.run.id) == [(metric.n,)]


def test_judging_again_replaces_the_counts_and_adds_none(judged: tuple[Path, Judgement]) -> None:
    path, _ = judged
    before = rows(path, "SELECT * FROM itl_counts", "")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE itl_counts SET gaps = 7")
    connection.close()
    assert invoke("judge", path).exit_code == 3
    assert rows(path, "SELECT * FROM itl_counts", "") == before


def test_an_old_database_has_the_counts_of_a_run_once_it_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copy(OLD, path)
    path.chmod(0o644)
    with Store.open(path) as store:
        run = store.run().id
    assert rows(path, "SELECT count(*) FROM itl", run) == [(0,)]
    invoke("judge", path)
    with Store.open(path) as store:
        metric = judge(store).metrics["itl"]
    ((p95,),) = rows(path, query("min(gap_ms) AS p95_itl_ms"), run)
    assert p95 == float(f"{metric.quantiles[1]:.3g}")


@pytest.mark.parametrize("name", canned())
def test_each_canned_query_of_datasette_answers(judged: tuple[Path, Judgement], name: str) -> None:
    path, judgement = judged
    with sqlite3.connect(path) as connection:
        found = connection.execute(canned()[name], {"run_id": judgement.run.id, "label": "no, 'such'"}).fetchall()
    connection.close()
    assert found
    if name == "percentiles":
        assert found == rows(path, query("network, n"), judgement.run.id)
