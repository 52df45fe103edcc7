"""A monitor's database with probes that are known, judged as by the monitor itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Config
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import standing
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare
from streamgauge.harness.monitor.judging import Judge
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import a_run_of_probes, observation

START = 1_680_000_000  # seconds since 1970: a full minute
EVERY = 60
CONFIG = """
[[monitor.target]]
name = "eu"
host = "https://eu.example"
labels = { region = "eu", "a.b" = "c" }
[[slo]]
name = "first token"
good = "ttft < 1.5s"
[[slo]]
name = "errors {{ $x }}"
good = "not failed"
objective = "99.9%"
window = "7d"
[[alert]]
kind = "command"
command = ["true"]
"""


class Monitored:
    def __init__(self, path: Path, text: str = CONFIG, target: str = "eu") -> None:
        self.path = path
        self.config: Config = parse(text.encode())
        self.levels = levels(self.config)
        self.store = MonitorStore.create(path)
        self.run = a_run_of_probes(
            target, id=f"run-{target}", realtime_ns=START * 10**9, host="https://eu.example",
            labels={"region": "eu"},
            config={"protocol": "openai_chat", "model": "gpt"},
        )  # fmt: skip
        self.store.start_run(self.run)
        with self.store.transaction() as connection:
            prepare(connection)
            standing.remember(connection, self.levels)
        self.judge = Judge(
            self.store, self.config, self.levels, lambda connection: Outbox(connection, self.config.alert).put
        )
        self.judge.round(START + 5)

    def probes(self, ttfts: Sequence[float | None], first: int = 0, **fields: Any) -> None:
        """One each minute from minute `first` on; None: it is refused. Every second one is over a warm connection."""
        self.store.append(self.run.id, [probe(first + n, ttft, **fields) for n, ttft in enumerate(ttfts)], [])

    def judged(self, minute: int) -> "Monitored":
        while self.judge.round(START + minute * EVERY + 5).more:
            pass
        return self


def probe(minute: int, ttft: float | None, **fields: Any) -> StreamObservation:
    chunks = [] if ttft is None else [("text", ttft), ("text", ttft + 20), ("text", ttft + 40)]
    due = (minute * EVERY + 10) * 1_000
    told: dict[str, Any] = {"input_tokens": 20, "output_tokens": 30}
    if minute % 2 == 0:
        told["connected_at"] = (due + 5) * 1_000_000
    return observation(chunks, outcome=Outcome.REFUSED if ttft is None else Outcome.COMPLETED, due=due, **told | fields)


def with_an_outage(path: Path) -> Monitored:
    """Two good hours, ten bad minutes, an incident that is open."""
    made = Monitored(path)
    made.probes([400] * 120)
    made.probes([None, 9_000, *[2_000] * 18], first=120)
    return made.judged(140)
