"""A number of one has a noun in the singular, in every output (issue 17, D13)."""

import re
from pathlib import Path

import pytest

from streamgauge.harness.judge.outputs import junit, markdown
from streamgauge.harness.judge.outputs.terminal import text
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.run.live import LiveProgress
from tests.support.record import judged, observation
from tests.support.report_page import rendered

NOUNS = (
    "streams|users|runs|chunks|tokens|events|answers|workers|processes|samples|requests|arrivals|connections|times|"
    "reads|bytes|rules|characters|gaps|stalls|seconds|baselines|rows"
)
# Not a decimal's last digit, and not the end of a range or of `1 of 2`.
WRONG = re.compile(rf"(?<![\d.,–-])1 (?:more |comparable |fresh |accepted )?(?:{NOUNS})\b(?!/)")
RULES = ("p95(ttft) < 1s", "p50(itl) < 1s", "error_rate < 1%", "max(ttft) < 10s")
ONE = {
    "completed": observation(output_tokens=3),
    "failed": observation([], outcome=Outcome.RESET, detail="connection reset"),
    "late": observation(reads=1, saturated_reads=1, coalesced_reads=1),
    "left": observation([("text", 100)], outcome=Outcome.CANCELLED, detail="left after 1 chunk, as planned"),
}


@pytest.mark.parametrize("kind", ONE)
def test_no_output_says_one_streams(tmp_path: Path, kind: str) -> None:
    judgement = judged(tmp_path / "run.db", [ONE[kind]], *RULES)
    outputs = {
        "terminal": text(judgement),
        "Markdown": markdown.render(judgement),
        "JUnit": junit.render(judgement),
        "report": re.sub(
            r"<script.*?</script>", "", rendered(tmp_path / "page.db", [ONE[kind]], *RULES)[0], flags=re.S
        ),
    }
    progress = LiveProgress()
    progress.add([ONE[kind]])
    outputs["progress"] = "\n".join(progress.lines(3, 1))
    wrong = {name: found for name, said in outputs.items() if (found := WRONG.findall(said))}
    assert wrong == {}
