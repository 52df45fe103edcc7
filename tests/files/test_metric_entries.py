"""A metric's entry is true, and the gate and the measurements depend on nothing else."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Good, Reader, Regression
from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.compare import baseline
from streamgauge.harness.judge.compare.comparison import GateStatus
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.stored_runs import with_baseline
from streamgauge.harness.judge.measure import observe, reader_model
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.metrics import METRICS, Better, Metric
from streamgauge.harness.judge.measure.rates import RATES, SERVER_STOPPED, Figure, Rate
from streamgauge.harness.judge.measure.totals import SUMS, Sum, Totals
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.vitals import Vital
from tests.support.record import MS, a_run, database, judged, new_store, observation

KIND = {"scenario": "chat"}
GOOD = Good(*map(Duration.parse, ("1s", "1s", "1s", "1s")))


def gated(path: Path, subject: str, characters: float) -> GateStatus:
    """The gate's verdict on runs with this many characters an answer, after ten runs with 400."""
    with new_store(path) as store:
        for place in range(18):
            run = a_run(id=f"run-{place:02}", fingerprint=KIND)
            typical = (400 if place < 10 else characters) + place % 3
            store.start_run(run)
            store.append(run.id, [observation(characters=int(typical)) for _ in range(5)])
            store.finish_run(run.id, ended_ns=10_000 * MS, status="finished")
        names = [run.id for run in store.runs()]
        baseline.accept(store, "main", names[:10])
        return with_baseline(store, "main", names[10:], Gate.of(Regression(metrics=(subject,)))).status


@pytest.mark.parametrize(
    ("better", "fewer", "more"),
    [
        (Better.HIGHER, GateStatus.REGRESSED, GateStatus.IMPROVED),
        (Better.LOWER, GateStatus.IMPROVED, GateStatus.REGRESSED),
    ],
)
def test_a_new_metric_gates_in_the_direction_that_its_entry_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: Better, fewer: GateStatus, more: GateStatus
) -> None:
    new = Metric(
        name="answer_length",
        definition="characters of an answer",
        better=better,
        observe=observe.column("characters"),
        columns=("characters",),
        unit="chunks",
        ticks_per_unit=1,
    )
    monkeypatch.setitem(cast(dict[str, Metric], METRICS), new.name, new)
    assert gated(tmp_path / "fewer.db", "mean(answer_length)", 300) is fewer
    assert gated(tmp_path / "more.db", "mean(answer_length)", 500) is more


def test_a_new_rate_gates_in_the_direction_that_its_entry_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Rate(
        name="answers_per_character",
        definition="streams / characters of the last one",
        better=Better.HIGHER,
        unit="streams",
        over=lambda totals, _: Figure(totals.streams / totals.sum("characters"), totals.streams),
        sums=("characters",),
    )
    monkeypatch.setitem(cast(dict[str, Rate], RATES), new.name, new)
    counted = Sum("characters", lambda streams, _: streams.number["characters"], ("characters",))
    monkeypatch.setitem(cast(dict[str, Sum], SUMS), counted.name, counted)
    assert gated(tmp_path / "fewer.db", new.name, 300) is GateStatus.IMPROVED
    assert gated(tmp_path / "more.db", new.name, 500) is GateStatus.REGRESSED


def test_an_entry_without_a_direction_is_refused() -> None:
    with pytest.raises(TypeError, match="better"):
        Metric(name="new", definition="…", observe=observe.headers, columns=())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="better"):
        Rate(name="new", definition="…", unit="ratio", over=lambda *_: Figure(None, 0))  # type: ignore[call-arg]


class Recorded(dict[str, Any]):
    """Remembers which keys were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    """One of each kind, with the columns of the reader model."""
    tool = [("text", 100), ("tool", 120), ("text", 400)]
    seen = [
        *(
            observation(outcome=outcome, output_tokens=3, send_lag=1, connected_at=2, headers_at=3)
            for outcome in Outcome
        ),
        observation(tool, link=50, cache_read_tokens=7),
        observation(tool, link=50, outcome=Outcome.CANCELLED, ended=410),
        observation([], outcome=Outcome.CANCELLED, ended=5),
        observation(resume_gap=1, resume_lost=0, resume_duplicated=0, resumed_from="1"),
    ]
    with Store.open(database(tmp_path / "one.db", seen)) as store:
        (found,) = store.streams("run-1")
    return found.with_numbers({name: np.ones(len(found)) for name in reader_model.COLUMNS})


def read_by(streams: Streams, compute: Any) -> set[str]:
    """Which columns a function of streams reads."""
    text, number = Recorded(streams.text), Recorded(streams.number)
    watched = Streams(streams.id, text, number, streams.blobs)
    compute(watched)
    return text.read | number.read | ({"events"} & watched.__dict__.keys())


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_reads_the_columns_that_it_names_and_no_others(streams: Streams, name: str) -> None:
    assert read_by(streams, METRICS[name].observe) == set(METRICS[name].columns)


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_reads_the_columns_that_it_names_and_no_others(streams: Streams, name: str) -> None:
    assert read_by(streams, lambda watched: SUMS[name].of(watched, GOOD)) == set(SUMS[name].columns)


@pytest.mark.parametrize("name", RATES)
def test_a_rate_reads_the_sums_that_it_names_and_no_others(name: str) -> None:
    of_run = (SERVER_STOPPED, Vital.SERVER_GENERATED, Vital.ARRIVALS, Vital.DROPPED_ARRIVALS)
    sums = Recorded(dict.fromkeys([*SUMS, *of_run], 3.0))
    assert RATES[name].over(Totals({Outcome.COMPLETED: 3, Outcome.CANCELLED: 3}, sums), 10).value is not None
    assert sums.read == set(RATES[name].sums)


def test_only_metrics_that_name_the_reader_s_speed_depend_on_it(tmp_path: Path) -> None:
    halting = [observation([("text", 100), ("text", at), ("text", at + 900)]) for at in (400, 900, 2_000)]
    slow, quick = (
        judged(tmp_path / f"{speed}.db", halting, config={"reader": {"characters_per_second": speed}}).metrics
        for speed in (2.0, 200.0)
    )
    differ = {name for name in METRICS if slow[name] != quick[name]}
    assert differ == {name for name, each in METRICS.items() if "reader.characters_per_second" in each.options}


def test_only_rates_that_name_the_limits_of_good_need_them(tmp_path: Path) -> None:
    answers = [observation(output_tokens=3, cache_read_tokens=0) for _ in range(3)]
    without, given = (
        judged(tmp_path / f"{number}.db", answers, config={"reader": config}).rates
        for number, config in enumerate([{}, {"good": {"ttft": "1s"}}])
    )
    differ = {name for name in RATES if without[name] != given[name]}
    assert differ == {name for name, each in RATES.items() if "reader.good" in each.options}


def test_options_are_keys_of_the_config() -> None:
    named = {option for each in METRICS.values() for option in each.options}
    named |= {option for each in RATES.values() for option in each.options}
    assert named == {f"reader.{key}" for key in Reader.__struct_fields__}


def test_the_reader_model_runs_only_for_metrics_that_need_it(streams: Streams) -> None:
    """The reader model decodes every event of every stream; decoding fails here."""
    number = {name: column for name, column in streams.number.items() if name not in reader_model.COLUMNS}
    damaged = Streams(streams.id, streams.text, number, [b"damaged"] * len(streams))
    Measurements(only=("ttft", "goodput")).take(damaged)
    for only, person in ((("stall_time",), None), (("goodput",), Reader(good=GOOD))):
        with pytest.raises(DamagedRow, match="streams, row 1, column arrivals"):
            Measurements(only=only, reader=person).take(damaged)
