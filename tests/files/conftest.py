"""Judgements and pages that several files of this folder read and none changes."""

from pathlib import Path

import pytest

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.judge.verdict.judgement import Judgement
from tests.support import report_page
from tests.support.record import judged, ttfts
from tests.support.report_page import rendered
from tests.support.verdicts import GOOD, HOSTILE, REFUSED


@pytest.fixture
def mixed(tmp_path: Path) -> Judgement:
    """Every kind of verdict."""
    return judged(
        tmp_path / "mixed.db",
        [*GOOD, *ttfts([900] * 40, network="slow_4g"), *REFUSED],
        "p50(ttft) < 1s",
        "p95(ttft) < 500ms",
        "error_rate < 9%",
        Sla(rule="p95(ttft) < 4s", where=Where(network="3g", label={"build": "a"})),
    )


@pytest.fixture
def hostile(tmp_path: Path) -> Judgement:
    """Whatever a config, a scenario or a server can bring in is an attack."""
    return judged(
        tmp_path / "hostile.db",
        [*ttfts(range(100, 200), user=HOSTILE, network=HOSTILE, labels={HOSTILE: HOSTILE}), *REFUSED],
        Sla(rule="p95(ttft) < 1ms", where=Where(user=HOSTILE, label={HOSTILE: HOSTILE})),
        Sla(rule="p95(ttft) < 1s", where=Where(network="none of them")),
        scenario=HOSTILE,
        host=HOSTILE,
        notes=[HOSTILE],
    )


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Judgement]:
    rules = ("p95(ttft) < 1s", "error_rate < 1%", Sla(rule="p99(itl) < 5s", where=Where(network="slow_4g")))
    return rendered(tmp_path_factory.mktemp("report") / "run.db", report_page.mixed(), *rules)
