"""Baselines: which runs they hold, which of them are compared, and what is refused in one line."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import BaselineError, StoreError
from streamgauge.harness.judge.compare import baseline
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, exit_code
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.stored_runs import in_turns, with_baseline
from streamgauge.harness.judge.store import Store
from tests.support.record import MS, a_run, new_store, ttfts

GATE = Gate.of(Regression(metrics=("p95(ttft)",)))
KIND = {"scenario": "chat", "load": {"users": 20, "spawn_rate": 5}}


def add(store: Store, run_id: str, ttft: float = 400, status: Any = "finished", n: int = 80, **fields: Any) -> str:
    """A run of 80 streams whose TTFT scatter about this one, in ms; the runs themselves scatter a little, too."""
    run = a_run(**{"id": run_id, "fingerprint": KIND, **fields})
    draw = Random(run_id)
    typical = ttft * draw.gauss(1, 0.01)
    store.start_run(run)
    store.append(run.id, ttfts([typical * draw.uniform(0.7, 1.3) for _ in range(n)]))
    store.finish_run(run.id, ended_ns=10_000 * MS, status=status)
    return run.id


def several(store: Store, name: str, n: int, **fields: Any) -> list[str]:
    return [add(store, f"{name}-{place:02}", **fields) for place in range(n)]


@pytest.fixture(scope="module")
def ten_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ten_runs") / "gauge.db"
    with new_store(path) as there:
        assert baseline.accept(there, "main", several(there, "old", 10)) == 10
    return path


@pytest.fixture
def store(ten_runs: Path, tmp_path: Path) -> Iterator[Store]:
    """A database whose baseline `main` has ten runs."""
    with Store.open(shutil.copy(ten_runs, tmp_path)) as there:
        yield there


def gate(store: Store, runs: Sequence[str], name: str = "main") -> Comparison:
    return with_baseline(store, name, runs, GATE)


def test_runs_are_compared_with_the_accepted_ones(store: Store) -> None:
    same = gate(store, several(store, "new", 3))
    assert same.status is GateStatus.OK, same.reason
    assert len(same.baseline_runs) == 10
    slower = gate(store, several(store, "slow", 8, ttft=480))
    assert slower.status is GateStatus.REGRESSED
    assert slower.rows[0].change == pytest.approx(1.2, abs=0.05)


def test_a_run_is_accepted_once(store: Store) -> None:
    assert baseline.accept(store, "main", ["old-03", add(store, "new")]) == 1
    assert len(store.accepted()["main"]) == 11


def test_only_the_newest_accepted_runs_count(store: Store) -> None:
    baseline.accept(store, "main", several(store, "young", 12))
    compared = with_baseline(store, "main", several(store, "new", 3), Gate.of(Regression(window=15)))
    assert len(compared.baseline_runs) == 15
    assert (compared.baseline_runs[0], compared.baseline_runs[-1]) == ("old-07", "young-11")


def test_a_baseline_of_few_runs_is_inconclusive(store: Store) -> None:
    assert store.forget("main", ["old-00", "nobody"]) == 1
    compared = gate(store, several(store, "new", 3))
    assert compared.status is GateStatus.INCONCLUSIVE
    assert "main has 9 comparable runs of the 10" in compared.reason


def test_a_run_that_is_removed_from_a_baseline_stays_in_the_database(store: Store) -> None:
    store.forget("main", [each.run for each in store.accepted()["main"]])
    assert store.accepted() == {}
    assert len(store.runs()) == 10


def test_runs_of_another_kind_are_refused_by_the_difference(store: Store) -> None:
    more = add(store, "more", fingerprint={**KIND, "load": {"users": 50, "spawn_rate": 5}})
    with pytest.raises(
        BaselineError, match=r"more cannot be compared with old-09 .*: load.users was 20 and is 50\. Only"
    ):
        gate(store, [more])
    other = add(
        store, "other", fingerprint={"scenario": "chat", "seed": 1, "load": "Ramp", "run_time": 5, "client": "x"}
    )
    with pytest.raises(BaselineError, match=r"client was absent and is 'x'; load was absent .*; and \d more\. Only"):
        gate(store, [other])
    with pytest.raises(BaselineError, match="more cannot be compared with new, which is to be judged with it"):
        gate(store, [add(store, "new"), more])


def test_a_baseline_may_hold_runs_of_several_kinds(store: Store) -> None:
    other = {**KIND, "scenario": "slow_mobile"}
    baseline.accept(store, "main", several(store, "phone", 11, fingerprint=other))
    assert len(gate(store, several(store, "new", 3)).baseline_runs) == 10
    assert len(gate(store, several(store, "call", 3, fingerprint=other)).baseline_runs) == 11


def test_a_run_is_not_compared_with_itself(store: Store) -> None:
    with pytest.raises(BaselineError, match="old-04 is itself a run of the baseline 'main'"):
        gate(store, ["old-04"])


def test_an_error_for_an_unknown_baseline_lists_those_that_exist(store: Store) -> None:
    run = add(store, "new")
    with pytest.raises(BaselineError, match=r"no baseline called 'mian'; there are main; .*; did you mean 'main'"):
        gate(store, [run], "mian")
    with pytest.raises(StoreError, match="no run called 'nobody'"):
        gate(store, ["nobody"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "interrupted"}, "the run is interrupted, not finished"),
        ({"n": 0}, "the run has no streams"),
        ({"instrument": {"clock_drift_ns": 80 * MS}}, "clock stepped by 80"),
    ],
)
def test_an_unfit_run_is_neither_accepted_nor_compared(store: Store, fields: dict[str, Any], expected: str) -> None:
    bad = add(store, "bad", **fields)
    with pytest.raises(BaselineError, match=f"bad cannot be accepted: .*{expected}"):
        baseline.accept(store, "main", [bad])
    compared = gate(store, [*several(store, "new", 2), bad])
    assert compared.status is GateStatus.INVALID
    assert expected in compared.reason
    assert exit_code(compared) == 3


def test_why_a_run_is_degraded_stands_beside_the_verdict(store: Store) -> None:
    runs = [*several(store, "new", 2), add(store, "lame", notes=["worker-1 was lost"])]
    assert gate(store, runs).notes == ("lame is degraded: worker-1 was lost",)


def test_a_file_judges_as_the_database_does(store: Store, tmp_path: Path) -> None:
    new = several(store, "new", 3)
    with_database = gate(store, new)
    path = tmp_path / "main.json"
    path.write_text(baseline.export(store, "main", GATE))
    with_file = gate(store, new, str(path))
    assert (with_file.rows, with_file.baseline_runs) == (with_database.rows, with_database.baseline_runs)
    with new_store(tmp_path / "elsewhere.db") as elsewhere:
        assert baseline.import_file(elsewhere, str(path)) == ("main", 10)
        assert baseline.import_file(elsewhere, str(path), "release") == ("release", 10)
        several(elsewhere, "new", 3)
        assert gate(elsewhere, new).rows == with_database.rows
        assert json.loads(baseline.export(elsewhere, "release", GATE))["runs"] == json.loads(path.read_text())["runs"]


def test_a_file_is_small(store: Store) -> None:
    assert len(baseline.export(store, "main", Gate.of(Regression()))) < 10 * 700


def test_a_metric_that_a_file_does_not_have_is_inconclusive(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    path.write_text(baseline.export(store, "main", GATE))
    two = Gate.of(Regression(metrics=("p95(ttft)", "p50(e2e)")))
    compared = with_baseline(store, str(path), several(store, "new", 3), two)
    assert [row.status for row in compared.rows] == [GateStatus.OK, GateStatus.INCONCLUSIVE]
    assert "p50(e2e) was not observed in old-00 and 9 more" in compared.reason
    assert compared.notes == (
        f"{path} was exported without p50(e2e): export it again from the database that has its runs",
    )


RUN = {"run": "a", "started_at": "", "fingerprint": KIND, "figures": {"p95(ttft)": [400, 80]}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read: No such file"),
        ("", "not a baseline, or a damaged one"),
        ('{"schema": "streamgauge/baseline/1", "name": "main", "runs": [{"run": "a"', "damaged"),
        ("[1]", "not a baseline, or a damaged one"),
        ('{"schema": "streamgauge/result/1"}', "not a baseline; `streamgauge baseline export` writes one"),
        (
            '{"schema": "streamgauge/baseline/2", "people": 3}',
            "another version of streamgauge (streamgauge/baseline/2)",
        ),
        ({"runs": []}, "the baseline 'main' has no runs"),
        ({"runs": [{"run": "a"}]}, "missing required field"),
        ({"runs": [{**RUN, "run": "a\x1b[2J"}]}, "a name in it has characters that cannot be printed"),
        ({"runs": [{**RUN, "figures": {"p95(ttft)": [-400, 80]}}]}, "damaged"),
        ({"runs": [{**RUN, "figures": {"p95(ttft)": "400"}}]}, "damaged"),
        ({"runs": [{key: RUN[key] for key in ("run", "started_at", "fingerprint")}]}, "'a' has no figures"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused_in_one_line(
    store: Store, tmp_path: Path, text: Any, expected: str
) -> None:
    path = tmp_path / "main.json"
    if isinstance(text, dict):
        text = json.dumps({"schema": "streamgauge/baseline/1", "name": "main", **text})
    if text is not None:
        path.write_text(text)
    for use in (lambda: gate(store, [add(store, "new")], str(path)), lambda: baseline.import_file(store, str(path))):
        with pytest.raises(BaselineError) as fault:
            use()
        assert expected in str(fault.value)
        assert str(path) in str(fault.value)
        assert "\n" not in str(fault.value)


def test_runs_that_took_turns_must_be_of_the_same_work(store: Store) -> None:
    a, b = several(store, "a", 6), several(store, "b", 6, ttft=480)
    compared = in_turns(store, a, b, GATE)
    assert compared.status is GateStatus.REGRESSED, compared.reason
    other = several(store, "c", 6, fingerprint={"scenario": "mixed"})
    with pytest.raises(BaselineError, match="c-00 cannot be compared with a-00, which it took turns with"):
        in_turns(store, a, other, GATE)


@pytest.mark.parametrize(("spoilt", "status"), [(0, "regressed"), (2, "regressed"), (3, "invalid"), (6, "invalid")])
def test_of_runs_that_took_turns_a_few_spoilt_pairs_are_left_out(store: Store, spoilt: int, status: str) -> None:
    a = several(store, "a", 6)
    b = [*several(store, "b", 6 - spoilt, ttft=480), *several(store, "spoilt", spoilt, status="interrupted")]
    compared = in_turns(store, a, b, GATE)
    assert compared.status == status, compared.reason
    named = [text for text in (compared.reason, *compared.notes) if "is invalid: the run is interrupted" in text]
    assert len(named) == spoilt
    if status == "regressed":
        assert (compared.baseline_runs, compared.first_runs) == (a[: 6 - spoilt], b[: 6 - spoilt])
        assert all(text.startswith("a pair is left out: spoilt-0") for text in named)
    else:
        assert (compared.baseline_runs, compared.first_runs) == (a, b), "what was tried"


def test_four_pairs_of_runs_that_took_turns_must_be_left(store: Store) -> None:
    a, b = several(store, "a", 4), several(store, "b", 3, ttft=480)
    spoilt = several(store, "spoilt", 1, status="interrupted")
    assert in_turns(store, a, [*b, *spoilt], GATE).status is GateStatus.INVALID


def test_the_name_of_a_baseline_cannot_be_that_of_a_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"'main\.json' is not a name"):
        baseline.accept(store, "main.json", ["old-00"])
    (tmp_path / "main.json").write_text(baseline.export(store, "main", GATE))
    with pytest.raises(BaselineError, match=r"'release\.json' is not a name"):
        baseline.import_file(store, str(tmp_path / "main.json"), "release.json")
    with pytest.raises(BaselineError, match=r"' ' is not a name"):
        baseline.import_file(store, str(tmp_path / "main.json"), " ")


def test_a_run_that_was_imported_from_a_file_can_be_removed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text(baseline.export(store, "main", GATE))
    with new_store(tmp_path / "fresh.db") as fresh:
        baseline.import_file(fresh, str(tmp_path / "main.json"))
        assert baseline.remove(fresh, "main", ["old-03"]) == (1, 9)
        with pytest.raises(BaselineError, match="'old-03' is not in it; its newest is old-09"):
            baseline.remove(fresh, "main", ["old-03"])
        with pytest.raises(BaselineError, match="'old-0' begins more than one run: old-07, old-08, old-09"):
            baseline.remove(fresh, "main", ["old-0"])
        assert baseline.remove(fresh, "main", []) == (9, 0)


def test_the_newest_run_means_all_runs_of_its_series(store: Store) -> None:
    several(store, "first", 3, labels={"series": "a"})
    second = several(store, "second", 3, labels={"series": "b"})
    assert baseline.newest(store) == second
    alone = add(store, "alone")
    assert baseline.newest(store) == [alone]


def test_runs_are_found_by_their_labels(store: Store) -> None:
    mine = several(store, "mine", 2, labels={"branch": "main", "build": "7"})
    add(store, "cut", labels={"branch": "main"}, status="interrupted")
    add(store, "theirs", labels={"branch": "fix"})
    assert baseline.labelled(store, {"branch": "main"}) == mine
    assert baseline.labelled(store, {"branch": "main", "build": "7"}) == mine
    with pytest.raises(BaselineError, match="no finished run has the label branch=dev"):
        baseline.labelled(store, {"branch": "dev"})
