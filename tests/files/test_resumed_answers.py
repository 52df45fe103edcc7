"""What a run says of answers that came over several connections."""

from pathlib import Path
from typing import Any

from streamgauge.harness.record.observation import Outcome
from tests.support.record import judged, observation


def test_the_rest_of_an_answer_has_a_gap_and_no_times_of_a_whole_one(tmp_path: Path) -> None:
    rest: dict[str, Any] = {"resumed_from": "a:3", "resume_gap": 700_000_000, "resume_lost": 0, "resume_duplicated": 0}
    chunks = [("text", 5.0), ("text", 25.0)]
    streams = [
        observation(output_tokens=3),
        observation(chunks, due=1_000, output_tokens=9, **rest),
        observation(chunks, due=2_000, outcome=Outcome.CANCELLED, **rest),
        observation([], due=3_000, outcome=Outcome.CANCELLED, **{**rest, "resume_gap": None}),
    ]
    found = judged(tmp_path / "run.db", streams, "max(resume_gap) < 1s")
    assert found.verdict == "met"
    assert found.metrics["resume_gap"].n == 2
    for name in ("ttft", "ttft_text", "ttft_wire", "e2e", "duration", "tpot"):
        assert (found.metrics[name].n, found.metrics[name].failed) == (1, 0), name
    failed = judged(tmp_path / "two.db", [*streams, observation([], outcome=Outcome.RESET)])
    assert failed.metrics["ttft"].failed == 1
